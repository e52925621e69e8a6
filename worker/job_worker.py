"""The one subclass of `arq.Worker`: arq runs the jobs, scripts of ours claim, lease and finish them.

Stock arq 0.28 polls (249 ms until a job is picked up), asks Redis about every running job at every poll, gives a
killed worker's job away only after its whole timeout, and lets a frozen worker that wakes up finish the job of its
successor. So `main` and `_poll_iteration` claim by one script when woken, `finish_job` and `finish_failed_job` finish
by epoch, `heart_beat` and `record_health` write nothing (worker/leases.py does), and `run_job`, `sem`, `job_counter`,
`tasks`, `job_tasks` and `allow_pick_jobs` are used as they are. tests/worker/test_job_worker.py holds arq to that.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from arq.worker import Worker, func
from redis.exceptions import RedisError

from shared import ids
from shared.errors import JobError
from shared.job_queue import Claim, JobQueue
from shared.jobs import JobStatus
from shared.log import bound
from shared.restoration import Restoration
from shared.scripts import ScriptCall
from shared.token_log import FencedError, HeldJobLog, TokenLogWriter
from worker.circuit_breaker import CircuitBreaker
from worker.envelopes import Envelopes
from worker.job_in_hand import INTERRUPTED, TAKEN, JobInHand
from worker.leases import Leases
from worker.slots import Slots

OWNERS_RETURN_S = 1.0  # two heartbeats: within that, whoever has a job that Redis has lost puts it back
POLL_S = 0.25  # a safety net: workers are woken; this finds ended leases and what a lost publication should have told
NEVER_S = 10 * 365 * 86_400  # arq's own timeout is out of the way: a job's own timeout ends it
RETRY_FINISH_S = 0.2
HAND_OVER_S = 5.0  # how long jobs may take to stop and be put back

Run = Callable[[JobInHand], Awaitable[JobStatus | None]]

_log = logging.getLogger(__name__)


class JobWorker(Worker):
    """Runs the jobs of one worker process.

    Args:
        queue: Where jobs are claimed and finished.
        logs: Where their events go.
        slots: How many may run.
        breaker: Which models rest.
        worker_id: Who claims.
        worker_name: The same as clients see it.
        run: Brings one job to its terminal event; None as its answer: the job is to be put back.
        ended: Told of every job that has ended, but for those that are left to be stored.

    """

    def __init__(
        self,
        *,
        queue: JobQueue,
        logs: TokenLogWriter,
        slots: Slots,
        breaker: CircuitBreaker,
        worker_id: str,
        worker_name: str,
        run: Run,
        ended: Callable[[JobInHand], None],
    ) -> None:
        super().__init__(
            [func(self._run_function, name=Envelopes.FUNCTION_NAME)],
            redis_pool=Envelopes(),
            handle_signals=False,
            max_jobs=slots.in_all,
            job_timeout=NEVER_S,
            keep_result=0,
            log_results=False,
            max_tries=1_000_000,
            allow_abort_jobs=False,
            job_serializer=Envelopes.encode,
            job_deserializer=Envelopes.decode,
        )
        self.models: frozenset[str] = frozenset()  # what this worker's Ollama has
        self.loaded: frozenset[str] = frozenset()  # what of it is in memory
        self._queue = queue
        self._logs = logs
        self._leases = Leases(queue, worker_id, on_forgotten=breaker.news.set)
        self._slots = slots
        self._breaker = breaker
        self._restoration = Restoration()
        self._worker_id = worker_id
        self._worker_name = worker_name
        self._run_job = run
        self._tell_ended = ended
        self._in_hand: dict[str, JobInHand] = {}
        self._claiming = asyncio.Lock()
        self._awake = asyncio.Event()
        self._may_wait = True  # whether jobs may be waiting: the last claim could have been longer
        self._claims_from_s = 0.0

    def wake(self) -> None:
        """Look for jobs now: one was enqueued."""
        self._may_wait = True
        self._awake.set()

    def hold_off(self) -> None:
        """Claim nothing for a while: Redis may have lost claims, and then jobs wait there that others have in hand."""
        self._claims_from_s = self.loop.time() + OWNERS_RETURN_S
        self._may_wait = True

    def in_hand(self) -> list[JobInHand]:
        """Return the jobs this worker holds."""
        return list(self._in_hand.values())

    def stop_job(self, job_id: str, code: str) -> None:
        """End one job early (see `JobInHand.stop`); nothing happens when it is not here."""
        if (job := self._in_hand.get(job_id)) is not None:
            job.stop(code)

    async def main(self) -> None:
        """Renew leases, claim and start jobs until cancelled; outages of Redis are waited out."""
        while True:
            self._awake.clear()
            try:
                async with self._claiming:
                    await self._poll_iteration()
            except RedisError as error:
                _log.warning("claim_failed", extra={"error": str(error)})
                await asyncio.sleep(POLL_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._awake.wait()

    async def _poll_iteration(self) -> None:
        await self._leases.renew_if_due(self.in_hand())
        if not self.allow_pick_jobs or self.loop.time() < self._claims_from_s:
            return
        free = self._breaker.limit(self._slots.free(self.models))
        limit = self._slots.free_in_all()
        if not free or limit <= 0:
            self._may_wait = True
            return
        self._may_wait = len(free) < len(self.models)
        claims = await self._queue.claim(self._worker_id, free, limit=limit)
        taken = Counter(claim.job.model for claim in claims)
        # A model that gave less than was asked for is empty, and an enqueued job wakes; then a freed slot need not.
        self._may_wait |= len(claims) == limit or any(taken[model] == most for model, most in free.items())
        for claim in claims:
            if claim.job.id in self._in_hand:
                await self._give_back(claim)
            else:
                await self._start(claim)

    async def _give_back(self, claim: Claim) -> None:
        """Part with a job that this worker lost while it was frozen, and then claimed anew: the old run ends first."""
        self._in_hand[claim.job.id].stop(TAKEN)
        await self._queue.requeue(claim, delay_ms=int(POLL_S * 1000), failed=False)

    async def _start(self, claim: Claim) -> None:
        job_id, model = claim.job.id, claim.job.model
        log = self._logs.open(
            job_id=job_id,
            epoch=claim.epoch,
            last_seq=claim.last_seq,
            entries=claim.entries,
            channel=claim.channel,
            restore=partial(self._restoration.command, claim),
            holds_end=claim.job.is_durable,
        )
        job = self._in_hand[job_id] = JobInHand(claim, log, is_loaded=model in self.loaded)
        self._breaker.begin(job)
        self._slots.take(model)
        await self.sem.acquire()
        self.job_counter += 1
        with bound(request_id=claim.job.request_id, job_id=job_id):
            task = self.loop.create_task(self.run_job(job_id, ids.created_ms(job_id)))
        self.tasks[job_id] = task
        task.add_done_callback(lambda done: self._ended(job_id, model, done))

    def _ended(self, job_id: str, model: str, task: asyncio.Task[None]) -> None:
        self._release_sem_dec_counter_on_complete()
        self._slots.give_back(model)
        self._breaker.end(self._in_hand.pop(job_id))
        self.tasks.pop(job_id, None)
        if self._may_wait:
            self._awake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("job_run_failed", exc_info=error, extra={"job_id": job_id})

    async def _run_function(self, ctx: dict[Any, Any], job_id: str) -> None:  # noqa: ARG002  arq passes it
        job = self._in_hand[job_id]
        try:
            job.outcome = await self._run_job(job)
        except Exception:
            self._fail(job, "The worker failed.")  # put back it would run into the same bug, for ever
            raise

    async def finish_job(  # pyright: ignore[reportIncompatibleMethodOverride]  arq passes all by position
        self,
        job_id: str,
        *_: object,
    ) -> None:
        """Finish by epoch what has ended, put back what has not; waits for Redis as long as it takes."""
        job = self._in_hand[job_id]
        while True:
            try:
                return await self._settle(job)
            except RedisError as error:
                _log.warning("finish_failed", extra={"error": str(error)})
            await asyncio.sleep(RETRY_FINISH_S)

    async def _settle(self, job: JobInHand) -> None:
        try:
            while not await (self._put_back(job) if job.outcome is None else self._end(job, job.outcome)):
                await job.log.restored()  # perhaps Redis has lost it
        except FencedError:
            _log.info("job_lost", extra={"attempt": job.claim.failures + 1, "held_ms": job.age_ms()})
        job.log.close()

    async def _end(self, job: JobInHand, outcome: JobStatus) -> bool:
        ended = await self._logs.execute(self._end_call(job, outcome))
        if ended and not job.claim.job.is_durable:
            self._tell_ended(job)
        if ended:
            _log.info("job_ended", extra={"status": outcome, "model": job.claim.job.model, "held_ms": job.age_ms()})
        return bool(ended)

    async def _put_back(self, job: JobInHand) -> bool:
        await job.log.stored()  # the next owner goes on from there
        if (retry := job.retry) is None:
            put_back = await self._queue.requeue(job.claim, failed=False)
        else:
            self.loop.call_later(retry.avoid_ms / 1000, self.wake)
            put_back = await self._queue.requeue(
                job.claim, delay_ms=retry.delay_ms, failed=True, avoid_ms=retry.avoid_ms, error=retry.error
            )
        if put_back:
            _log.info("job_put_back", extra={"attempt": job.claim.failures + 1})
        return put_back

    def _end_call(self, job: JobInHand, outcome: JobStatus) -> ScriptCall:
        service_ms = job.age_ms() if outcome is JobStatus.COMPLETED else 0
        consumption = job.consumption(outcome)
        if isinstance(job.log, HeldJobLog) and job.log.terminal:
            end = job.to_end(outcome, terminal=job.log.terminal, worker=self._worker_name)
            return self._queue.leave_call(
                job.claim, end, entries=job.log.entries, service_ms=service_ms, consumption=consumption
            )
        return self._queue.finish_call(
            job.claim, outcome, entries=job.log.entries, service_ms=service_ms, consumption=consumption
        )

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:  # noqa: ARG002
        """End a job that arq could not start, which only a bug can cause."""
        self._fail(self._in_hand[job_id], "The job could not be started.")
        await self.finish_job(job_id)

    @staticmethod
    def _fail(job: JobInHand, message: str) -> None:
        with contextlib.suppress(FencedError):
            job.outcome = job.end_with(JobError(message))

    async def heart_beat(self) -> None:
        """Do nothing: worker/leases.py renews leases, and there are no cron jobs."""

    async def record_health(self) -> None:
        """Do nothing: the registry says who is alive."""

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, let running jobs end for `timeout_s`, then have the rest handed over."""
        self.allow_pick_jobs = False
        async with self._claiming:
            pass  # what was being claimed is in hand now, and not left to the end of its lease
        await self._wait_for_jobs(timeout_s)
        self.interrupt()
        await self._wait_for_jobs(HAND_OVER_S)

    def interrupt(self) -> None:
        """Have all running jobs handed over now."""
        for job in self.in_hand():
            job.stop(INTERRUPTED)

    async def close(self) -> None:
        """Do nothing: arq holds no connection."""

    async def _wait_for_jobs(self, timeout_s: float) -> None:
        if self.tasks:
            await asyncio.wait(list(self.tasks.values()), timeout=timeout_s)
