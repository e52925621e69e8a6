"""Putting a job back: who may take it, when, and what becomes of it if nobody does."""

import msgspec
from redis.asyncio import Redis

from shared import redis_keys
from shared.errors import JobCancelledError, JobExpiredError, UpstreamBusyError
from shared.events import ErrorBody, EventKind
from shared.job_queue import Claim, JobQueue, Stopped
from shared.jobs import Job, JobStatus
from tests.jobs import MODEL, admit, claim_next, log_of, make_job, state_of
from tests.waiting import wait_until

BUSY = UpstreamBusyError("Ollama is busy.")
LONG_MS = 60_000


async def fail(queue: JobQueue, claim: Claim, *, delay_ms: int = 0, avoid_ms: int = LONG_MS) -> None:
    assert await queue.requeue(claim, delay_ms=delay_ms, failed=True, avoid_ms=avoid_ms, error=BUSY)


async def claimed_by(queue: JobQueue, worker: str, *, slots: int = 10) -> list[Job]:
    return [claim.job for claim in await queue.claim(worker, {MODEL: slots}, limit=slots)]


async def until_claimed(queue: JobQueue, worker: str) -> Claim:
    async def claim() -> list[Claim]:
        return await queue.claim(worker, {MODEL: 1}, limit=1)

    claims = await wait_until(claim, description=f"{worker} has a job")
    assert claims
    return claims[0]


class TestAJobThatFailed:
    async def test_is_another_workers(self, queue: JobQueue) -> None:
        job = await admit(queue)
        await fail(queue, await claim_next(queue, worker="w1"))

        assert await claimed_by(queue, "w1") == []
        (claim,) = await queue.claim("w2", {MODEL: 1}, limit=1)
        assert (claim.job, claim.failures) == (job, 1)

    async def test_is_the_same_workers_when_nobody_else_took_it_in_time(self, queue: JobQueue) -> None:
        job = await admit(queue)
        await fail(queue, await claim_next(queue, worker="w1"), avoid_ms=20)

        assert (await until_claimed(queue, "w1")).job == job

    async def test_is_nobodys_before_its_delay_has_passed(self, queue: JobQueue) -> None:
        job = await admit(queue)
        await fail(queue, await claim_next(queue, worker="w1"), delay_ms=30)

        assert await claimed_by(queue, "w2") == []
        assert (await until_claimed(queue, "w2")).job == job

    async def test_does_not_hold_up_those_behind_it(self, queue: JobQueue, redis: Redis) -> None:
        failed = [await admit(queue) for _ in range(3)]
        for _ in failed:
            await fail(queue, await claim_next(queue, worker="w1"), avoid_ms=LONG_MS)
        behind = [await admit(queue, make_job(user="bob")) for _ in range(2)]
        scores = await redis.zrange(redis_keys.WAITING + MODEL, 0, 2, withscores=True)

        assert await claimed_by(queue, "w1") == behind
        assert await redis.zrange(redis_keys.WAITING + MODEL, 0, -1, withscores=True) == scores
        assert {job.id for job in await claimed_by(queue, "w2")} == {job.id for job in failed}

    async def test_is_taken_by_whoever_is_there_when_its_next_worker_is_lost(self, redis: Redis) -> None:
        short = JobQueue(redis, lease_ms=1)
        await admit(short)
        await fail(short, await claim_next(short, worker="w1"))
        await claim_next(short, worker="w2")

        assert (await until_claimed(short, "w1")).failures == 2

    async def test_counts_its_time_from_its_first_claim(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue, make_job(timeout_ms=5000))
        first = await claim_next(queue, worker="w1")
        started_ms = int((await state_of(redis, job))["started_ms"])
        await fail(queue, first, delay_ms=20)
        due_ms = await redis.zscore(redis_keys.DEADLINES, job.id)
        second = await until_claimed(queue, "w2")

        assert due_ms == started_ms + 5000
        assert int((await state_of(redis, job))["started_ms"]) == started_ms
        assert first.ran_ms == 0
        assert second.ran_ms >= 20
        assert second.queue_ms == first.queue_ms

    async def test_ends_with_its_last_failure_when_nobody_takes_it_in_time(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue)
        await fail(queue, await claim_next(queue))

        too_late = JobExpiredError("Too late.")
        ended = await queue.stop(job.id, error=too_late, status=JobStatus.EXPIRED)

        assert ended == Stopped(model=MODEL, status=JobStatus.FAILED)
        (event,) = await log_of(redis, job)
        error = msgspec.json.decode(event.payload, type=ErrorBody).error
        assert (event.kind, error.code, error.request_id) == (EventKind.ERROR.value, BUSY.code, job.request_id)

    async def test_can_be_cancelled_while_it_waits(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue)
        await fail(queue, await claim_next(queue), delay_ms=LONG_MS)

        cancelled = JobCancelledError("")
        ended = await queue.stop(job.id, error=cancelled, status=JobStatus.CANCELLED)

        assert ended == Stopped(model=MODEL, status=JobStatus.CANCELLED)
        (event,) = await log_of(redis, job)
        assert msgspec.json.decode(event.payload, type=ErrorBody).error.code == "cancelled"
