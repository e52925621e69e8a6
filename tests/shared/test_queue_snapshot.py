import msgspec
import pytest
from redis.asyncio import Redis

from shared import ids
from shared.demand import NO_LIMITS
from shared.errors import JobCancelledError
from shared.job_queue import WORKER_LEASE_MS, JobQueue
from shared.jobs import Job, JobKind, JobStatus
from shared.queue_snapshot import Backlog, ModelQueue, QueueReader, read_backlog
from shared.redis_keys import PACE
from shared.registry import Announcement, announce

MODEL = "llama3.2:3b"


def job(user_id: str) -> Job:
    return Job(
        id=ids.new_id(),
        kind=JobKind.CHAT,
        model=MODEL,
        user_id=user_id,
        request=b"{}",
        request_id="r-1",
        traceparent="",
        timeout_ms=60_000,
        calls_tools=False,
    )


async def enqueue(queue: JobQueue, admitted: Job) -> None:
    await queue.admit(
        admitted,
        channel="nobody",
        demand=NO_LIMITS,
        max_depth=100,
        queue_timeout_ms=60_000,
        unattended_ms=0,
        grace_ms=0,
        retention_ms=60_000,
    )


@pytest.fixture
def queue(redis: Redis) -> JobQueue:
    return JobQueue(redis)


async def test_jobs_are_counted_where_they_are(redis: Redis, queue: JobQueue) -> None:
    for _ in range(5):
        await enqueue(queue, job("ada"))
    failed, _ = await queue.claim("worker-1", {MODEL: 2}, limit=2)
    await queue.requeue(failed, delay_ms=60_000, failed=True)

    [counted, empty] = (await QueueReader(redis).snapshot([MODEL, "other"])).queues

    assert (counted.model, counted.waiting, counted.delayed, counted.running) == (MODEL, 3, 1, 1)
    assert empty == ModelQueue(model="other", waiting=0, delayed=0, running=0, oldest_ms=0)


async def test_what_a_new_job_finds_before_it(redis: Redis, queue: JobQueue) -> None:
    for _ in range(5):
        await enqueue(queue, job("ada"))
    await queue.claim("worker-1", {MODEL: 2}, limit=2)
    await redis.execute_command("HSET", PACE + MODEL, "service_ms", "700")  # as the end of a job measures it

    assert await read_backlog(redis, MODEL) == Backlog(waiting=3, running=2, service_ms=700)
    assert await read_backlog(redis, "other") == Backlog(waiting=0, running=0, service_ms=0)


async def test_ends_that_are_not_stored_are_counted(redis: Redis, queue: JobQueue) -> None:
    for _ in range(2):
        waiting = job("ada")
        await enqueue(queue, waiting)
        await queue.stop(waiting.id, error=JobCancelledError("Cancelled."), status=JobStatus.CANCELLED)

    assert (await QueueReader(redis).snapshot([])).unstored == 2


async def test_the_oldest_is_found_wherever_fair_order_has_put_it(redis: Redis, queue: JobQueue) -> None:
    """A user with many jobs waits behind others' newer ones; the oldest of all may be the last in the queue."""
    oldest = msgspec.structs.replace(job("ada"), id="01900000-0000-7000-8000-000000000000")
    await enqueue(queue, job("ada"))
    await enqueue(queue, oldest)
    await enqueue(queue, job("bob"))
    places = await queue.places([(MODEL, oldest.id)])
    assert places[0] is not None
    assert places[0].position == 3
    seconds, micros = await redis.time()

    [counted] = (await QueueReader(redis).snapshot([MODEL])).queues

    age_ms = seconds * 1000 + micros // 1000 - ids.created_ms(oldest.id)
    assert counted.oldest_ms >= age_ms


async def test_heartbeats_are_as_old_as_the_lease_says(redis: Redis) -> None:
    announcement = Announcement(
        id="w-1", host="gpu-1", pid=1, models=(), slots=1, max_jobs=1, ollama_version="", draining=False
    )
    await announce(redis, announcement, lease_ms=WORKER_LEASE_MS - 700)

    ages = (await QueueReader(redis).snapshot([])).heartbeat_ages_ms

    assert ages.keys() == {"w-1"}
    assert ages["w-1"] >= 700
