"""A job in a worker's hands ends for one reason, the first one, whoever asks and however often."""

import asyncio

import msgspec
import pytest
from redis.asyncio import Redis

from shared.errors import JobCancelledError, JobError, JobExpiredError, JobTimedOutError, WorkerLostError
from shared.events import ErrorBody, EventKind
from shared.jobs import JobStatus
from shared.token_log import FencedError, TokenLogWriter
from tests.jobs import claim_of, make_job, open_log
from worker.job_in_hand import INTERRUPTED, TAKEN, JobInHand, JobInterruptedError


def in_hand(redis: Redis, *, timeout_ms: int = 60_000) -> JobInHand:
    job = make_job(timeout_ms=timeout_ms)
    claim = claim_of(job)
    log = open_log(TokenLogWriter(redis), claim)
    return JobInHand(claim, log, is_loaded=True)


class Work:
    """Works on a job for ever; when it is stopped, it cleans up for as long as the test wants."""

    def __init__(self, job: JobInHand) -> None:
        self._job = job
        self.has_begun, self.cleans_up, self.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        async with self._job.limits():
            self.has_begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cleans_up.set()
                await self.may_end.wait()


async def stop_when_begun(job: JobInHand, work: Work, code: str) -> None:
    await work.has_begun.wait()
    job.stop(code)


async def test_stopping_after_the_work_has_ended_changes_nothing(redis: Redis) -> None:
    job = in_hand(redis)
    async with job.limits():
        pass

    job.stop("cancelled")

    assert job.end_with(WorkerLostError("The worker stopped.")) == JobStatus.FAILED


@pytest.mark.parametrize(
    ("code", "error"),
    [
        pytest.param(TAKEN, FencedError, id="another worker has it"),
        pytest.param(INTERRUPTED, JobInterruptedError, id="this worker stops"),
        pytest.param("cancelled", JobCancelledError, id="somebody cancelled it"),
        pytest.param("expired", JobExpiredError, id="its deadline has passed"),
    ],
)
class TestStopping:
    async def test_ends_the_work_where_it_waits(self, redis: Redis, code: str, error: type[Exception]) -> None:
        job = in_hand(redis)
        work = Work(job)
        work.may_end.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stop_when_begun(job, work, code))
            with pytest.raises(error):
                await work.run()

    async def test_before_the_work_begins_keeps_it_from_beginning(
        self, redis: Redis, code: str, error: type[Exception]
    ) -> None:
        job = in_hand(redis)
        job.stop(code)

        with pytest.raises(error):
            async with job.limits():
                pytest.fail("the work began")

    async def test_again_while_the_work_cleans_up_changes_nothing(
        self, redis: Redis, code: str, error: type[Exception]
    ) -> None:
        """The heartbeat repeats twice a second what to stop, and closing a connection may take longer than that."""
        job = in_hand(redis)
        work = Work(job)

        async def stop_again_and_again() -> None:
            await stop_when_begun(job, work, code)
            await work.cleans_up.wait()
            for again in (code, TAKEN, INTERRUPTED, "cancelled"):
                job.stop(again)
            work.may_end.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stop_again_and_again())
            with pytest.raises(error):
                await work.run()


class TestTheJobsOwnTimeout:
    async def test_ends_the_work(self, redis: Redis) -> None:
        with pytest.raises(JobTimedOutError):
            async with in_hand(redis, timeout_ms=1).limits():
                await asyncio.Event().wait()

    async def test_stays_the_reason_when_somebody_stops_the_job_meanwhile(self, redis: Redis) -> None:
        job = in_hand(redis, timeout_ms=1)
        work = Work(job)

        async def stop_late() -> None:
            await work.cleans_up.wait()
            job.stop(INTERRUPTED)
            work.may_end.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stop_late())
            with pytest.raises(JobTimedOutError):
                await work.run()

    async def test_is_not_taken_for_a_timeout_of_the_work_itself(self, redis: Redis) -> None:
        with pytest.raises(TimeoutError, match="somebody else's"):
            async with in_hand(redis).limits():
                raise TimeoutError("somebody else's")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (JobCancelledError("The job was cancelled."), JobStatus.CANCELLED),
        (JobTimedOutError("The job ran too long."), JobStatus.FAILED),
        (WorkerLostError("The worker stopped."), JobStatus.FAILED),
    ],
)
async def test_ending_with_an_error_tells_it_with_the_jobs_request_id(
    redis: Redis, error: JobError, status: JobStatus
) -> None:
    job = in_hand(redis)

    assert job.end_with(error) == status
    batch, _ = job.log.take()
    (event,) = batch.split()
    told = msgspec.json.decode(event.payload, type=ErrorBody).error
    assert event.kind == EventKind.ERROR.value
    assert (told.code, told.type, told.message) == (error.code, error.type, error.message)
    assert told.request_id == job.claim.job.request_id
    assert job.error_code == error.code
