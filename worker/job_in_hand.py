"""A job while this worker works on it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from shared.errors import (
    DeeperSensorError,
    JobCancelledError,
    JobError,
    JobExpiredError,
    JobTimedOutError,
    UpstreamError,
    UpstreamRejectedError,
)
from shared.events import ErrorBody, EventKind, Usage, describe, encode_payload
from shared.job_queue import Claim, Consumption
from shared.jobs import JobEnd, JobStatus
from shared.token_log import FencedError, JobLog
from worker.retry import Retry

TAKEN = "taken"  # another worker owns the job: stop, and write nothing more
INTERRUPTED = "interrupted"  # this worker stops: hand the job over


class JobInterruptedError(Exception):
    """This worker stops before the job has ended."""


class JobInHand:
    """A claimed job, its log, and the way to stop it from outside."""

    def __init__(self, claim: Claim, log: JobLog, *, is_loaded: bool) -> None:
        self.claim = claim
        self.log = log
        self.is_loaded = is_loaded  # whether Ollama has the model in memory, as far as is known
        self.outcome: JobStatus | None = None  # None: not ended by this worker
        self.error_code: str | None = None  # None: it completed
        self.fault: UpstreamError | None = None  # what Ollama failed of; None: it did not
        self.retry: Retry | None = None  # None: if it is put back, then because this worker stops or has lost it
        self.first_token_ms: int | None = None  # since the first claim; None: nothing was answered
        self.usage = Usage(prompt_tokens=0, completion_tokens=0)
        self._claimed_at_s = asyncio.get_running_loop().time()
        self._stop_code = ""
        self._scope: asyncio.Timeout | None = None

    def age_ms(self) -> int:
        """Return how long ago the job was claimed, in milliseconds."""
        return round((asyncio.get_running_loop().time() - self._claimed_at_s) * 1000)

    @property
    def has_proved_ollama_well(self) -> bool:
        """Whether Ollama has dealt with the job as it should, by a whole answer or a refusal."""
        if self.fault is not None:
            return isinstance(self.fault, UpstreamRejectedError)
        return self.outcome is JobStatus.COMPLETED and self.log.has_ended  # and not an earlier owner of the job

    def ran_ms(self) -> int:
        """Return how long ago the job was claimed for the first time, in milliseconds."""
        return self.claim.ran_ms + self.age_ms()

    def left_ms(self) -> int:
        """Return how much is left of the job's own timeout, in milliseconds."""
        return self.claim.job.timeout_ms - self.ran_ms()

    def stop(self, code: str) -> None:
        """End the work at its next wait: with `TAKEN`, `INTERRUPTED`, or the code of the error it is to end with.

        The first reason counts: it may be given again, or another one, while the work is still cleaning up.
        """
        if self._stop_code or (self._scope is not None and self._scope.expired()):
            return
        self._stop_code = code
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def limits(self) -> AsyncGenerator[None]:
        """Bound what runs inside by the job's own timeout and by `stop`.

        Raises:
            JobTimedOutError: The job's `timeout_ms` has passed.
            JobCancelledError: It was cancelled.
            JobExpiredError: It should have ended long ago.
            JobInterruptedError: The worker stops.
            FencedError: Another worker owns the job.

        """
        if self._stop_code:
            raise self._reason()
        scope = asyncio.timeout(self.left_ms() / 1000)
        try:
            async with scope:
                self._scope = scope
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise self._reason() from None
        finally:
            self._scope = None

    def end_with(self, error: DeeperSensorError) -> JobStatus:
        """Append `error` as the terminal event and return the status that goes with it.

        A job whose answer is whole stays completed: what went wrong after that concerns nobody.

        Raises:
            FencedError: Another worker owns the job.

        """
        if self.log.has_ended:
            return JobStatus.COMPLETED
        self.error_code = error.code
        terminal = ErrorBody(describe(error, request_id=self.claim.job.request_id))
        self.log.append(EventKind.ERROR.value, encode_payload(terminal))
        return JobStatus.CANCELLED if isinstance(error, JobCancelledError) else JobStatus.FAILED

    def consumption(self, status: JobStatus) -> Consumption:
        """Return what the job has used when it has ended with this status."""
        if status is JobStatus.COMPLETED:
            return Consumption(self.usage.prompt_tokens + self.usage.completion_tokens, answered=0)
        return Consumption("", answered=self._answered())

    def used(self, status: JobStatus) -> Usage:
        """Return what the job has used when it has ended with this status, as its limits are charged."""
        if status is JobStatus.COMPLETED or not (answered := self._answered()):
            return self.usage
        prompt_tokens = int(self.claim.state.get(b"prompt_tokens", 0))
        return Usage(prompt_tokens=prompt_tokens, completion_tokens=answered, estimated=True)

    def _answered(self) -> int:
        """Return how many pieces of an answer there are in the log of a job that ended early."""
        begins_after = int(self.claim.state.get(b"begins_after", 0))
        beginnings = 1 + self.claim.failures  # each `started` or `resumed`
        end = 0 if self.claim.job.is_durable else 1  # a durable job's log does not have it
        return max(0, self.log.last_seq - begins_after - beginnings - end)

    def to_end(self, status: JobStatus, *, terminal: bytes, worker: str) -> JobEnd:
        """Return how the job ended.

        Args:
            status: What it has ended as.
            terminal: Kind and payload of its last event.
            worker: Who we are, as clients see it.

        """
        claim, job, used = self.claim, self.claim.job, self.used(status)
        return JobEnd(
            user_id=job.user_id,
            kind=job.kind,
            model=job.model,
            status=status,
            request_id=job.request_id,
            queue_ms=claim.queue_ms,
            total_ms=claim.queue_ms + self.ran_ms(),
            attempts=claim.failures + 1,
            epoch=claim.epoch,
            is_durable=job.is_durable,
            api_key_id=job.api_key_id,
            terminal=terminal.decode("ascii"),
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            worker=worker,
        )

    def _reason(self) -> JobError | JobInterruptedError | FencedError:
        match self._stop_code:
            case "":
                return JobTimedOutError(f"The job ran longer than its {self.claim.job.timeout_ms} ms.")
            case code if code == TAKEN:
                return FencedError(self.claim.job.id)
            case code if code == INTERRUPTED:
                return JobInterruptedError()
            case JobExpiredError.code:
                return JobExpiredError("The job's deadline has passed.")
            case _:
                return JobCancelledError("The job was cancelled.")
