"""The end of a durable job waits in Redis until PostgreSQL has it, and is told then, once."""

import msgspec
import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.durable_queue import DurableQueue
from shared.ended_jobs import EndedJobs
from shared.errors import JobCancelledError
from shared.events import ErrorBody, EventKind
from shared.job_queue import Claim, JobQueue, Stopped
from shared.jobs import Job, JobEnd, JobKind, JobStatus
from tests.jobs import (
    CHANNEL,
    MODEL,
    NOTHING,
    RETENTION_MS,
    admit,
    append,
    claim_next,
    log_of,
    make_job,
    state_of,
)

STARTED = (EventKind.STARTED, b"{}")
CHUNK = (EventKind.CHUNK, b"{}")
DONE = 'd{"done": true, "content": "100 %s"}'


@pytest.fixture
def ended(redis: Redis) -> EndedJobs:
    return EndedJobs(redis)


async def enqueued(redis: Redis) -> Job:
    job = make_job(is_durable=True)
    durable = DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)
    await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=60_000, idempotency=None)
    return job


async def cancel(queue: JobQueue, job: Job) -> Stopped | None:
    return await queue.stop(job.id, error=JobCancelledError("Cancelled."), status=JobStatus.CANCELLED)


def end_of(claim: Claim) -> JobEnd:
    return JobEnd(
        user_id=claim.job.user_id,
        kind=claim.job.kind,
        model=claim.job.model,
        status=JobStatus.COMPLETED,
        request_id=claim.job.request_id,
        queue_ms=1,
        total_ms=2,
        attempts=1,
        epoch=claim.epoch,
        is_durable=True,
        terminal=DONE,
        worker="gpu-1",
    )


async def leave(redis: Redis, queue: JobQueue, claim: Claim) -> bool:
    call = queue.leave_call(claim, end_of(claim), entries=0, service_ms=100, consumption=NOTHING)
    return bool(await redis.execute_command(*call.whole))


class TestADurableJobThatItsWorkerHasEnded:
    async def test_frees_the_worker_and_tells_nobody_until_it_is_stored(
        self, queue: JobQueue, ended: EndedJobs, redis: Redis
    ) -> None:
        job = await enqueued(redis)
        claim = await claim_next(queue)
        await append(redis, claim, STARTED, CHUNK)

        assert await leave(redis, queue, claim)

        assert await redis.exists(redis_keys.RUNNING + MODEL, redis_keys.DEADLINES) == 0
        assert [event.kind for event in await log_of(redis, job)] == [b"s", b"c"]
        assert (await state_of(redis, job))["status"] == JobStatus.RUNNING
        assert (await queue.heartbeat("worker", [])).answers == []

        assert await ended.take(10) == {job.id: end_of(claim)}
        await ended.publish(job.id, end_of(claim))

        *_, last = await log_of(redis, job)
        assert (last.seq, last.kind + last.payload) == (3, DONE.encode())
        state = await state_of(redis, job)
        assert state["status"] == JobStatus.COMPLETED
        assert int(state["ended_ms"]) >= int(state["started_ms"])
        assert await redis.exists(redis_keys.UNSTORED, redis_keys.ENDS, redis_keys.PAYLOAD + job.id) == 0
        assert 0 < await redis.pttl(redis_keys.LOG + job.id) <= RETENTION_MS

    async def test_is_told_once_however_often_it_is_stored(
        self, queue: JobQueue, ended: EndedJobs, redis: Redis
    ) -> None:
        job = await enqueued(redis)
        claim = await claim_next(queue)
        for _ in range(2):
            assert await leave(redis, queue, claim)
        for _ in range(2):
            await ended.publish(job.id, end_of(claim))
        assert [event.kind for event in await log_of(redis, job)] == [b"d"]

    async def test_is_not_left_by_who_has_lost_it(self, queue: JobQueue, ended: EndedJobs, redis: Redis) -> None:
        await enqueued(redis)
        zombie = await claim_next(queue)
        await queue.requeue(zombie, failed=False)
        await claim_next(queue, worker="successor")

        assert not await leave(redis, queue, zombie)
        assert await ended.take(10) == {}

    async def test_stays_as_it_is_when_it_is_cancelled_too_late(
        self, queue: JobQueue, ended: EndedJobs, redis: Redis
    ) -> None:
        job = await enqueued(redis)
        claim = await claim_next(queue)
        await leave(redis, queue, claim)

        assert await cancel(queue, job) == Stopped(MODEL, "stopping")
        assert await ended.take(10) == {job.id: end_of(claim)}
        assert await queue.overdue() == []

    async def test_that_has_gone_on_since_then_is_left_alone(
        self, queue: JobQueue, ended: EndedJobs, redis: Redis
    ) -> None:
        """Redis was emptied meanwhile, and the job was restored."""
        job = await enqueued(redis)
        end = end_of(await claim_next(queue))
        await redis.flushall()
        durable = DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)
        await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=60_000, idempotency=None)

        await ended.publish(job.id, end)

        assert await log_of(redis, job) == []
        assert (await claim_next(queue)).job == job


class TestAJobThatIsEndedWhileItWaits:
    async def test_is_told_when_it_is_stored_if_it_is_durable(
        self, queue: JobQueue, ended: EndedJobs, redis: Redis
    ) -> None:
        job = await enqueued(redis)

        assert await cancel(queue, job) == Stopped(MODEL, "stopping")

        assert await log_of(redis, job) == []
        assert await queue.claim("worker", {MODEL: 1}, limit=1) == []
        ((job_id, end),) = (await ended.take(10)).items()
        assert (job_id, end.status, end.attempts, end.is_durable) == (job.id, JobStatus.CANCELLED, 0, True)
        await ended.publish(job.id, end)
        (event,) = await log_of(redis, job)
        assert event.kind == EventKind.ERROR.value
        assert await cancel(queue, job) == Stopped(MODEL, "cancelled")

    async def test_takes_it_from_a_worker_that_was_frozen(
        self, queue: JobQueue, ended: EndedJobs, redis: Redis
    ) -> None:
        job = await enqueued(redis)
        claim = await claim_next(queue)
        await redis.zadd(redis_keys.RUNNING + MODEL, {job.id: 0})

        await cancel(queue, job)

        assert (await queue.heartbeat("worker", [(claim, 0)])).answers == ["taken"]
        assert not await leave(redis, queue, claim)
        (end,) = (await ended.take(10)).values()
        assert (end.status, end.attempts) == (JobStatus.CANCELLED, 1)

    async def test_is_told_at_once_and_noted_all_the_same_if_it_is_not_durable(
        self, queue: JobQueue, ended: EndedJobs, redis: Redis
    ) -> None:
        job = await admit(queue)

        assert await cancel(queue, job) == Stopped(MODEL, "cancelled")

        (event,) = await log_of(redis, job)
        (end,) = (await ended.take(10)).values()
        assert end.terminal.encode() == event.kind + event.payload
        assert msgspec.json.decode(event.payload, type=ErrorBody).error.request_id == end.request_id
        assert (end.user_id, end.kind, end.status, end.attempts) == ("alice", JobKind.CHAT, JobStatus.CANCELLED, 0)
        await ended.publish(job.id, end)
        assert [event] == await log_of(redis, job)
        assert not await redis.exists(redis_keys.UNSTORED, redis_keys.ENDS)


async def test_an_end_is_lent_to_one_gateway_at_a_time(queue: JobQueue, ended: EndedJobs) -> None:
    jobs = [await admit(queue) for _ in range(3)]
    for job in jobs:
        await cancel(queue, job)

    first, second = await ended.take(2), await ended.take(2)
    assert (len(first), len(second), await ended.take(2)) == (2, 1, {})
    assert first.keys() | second.keys() == {job.id for job in jobs}
    await ended.give_back(list(first))
    assert (await ended.take(2)).keys() == first.keys()
