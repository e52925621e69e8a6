import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.erasure import AFTER_MS, AT_ONCE, Erasure
from shared.errors import JobCancelledError
from shared.events import EventKind
from shared.idempotency import Idempotency
from shared.ids import new_id
from shared.job_queue import JobQueue
from shared.jobs import Job, JobStatus
from tests.jobs import MODEL, admit, append, claim_next, finish, make_job

KEY = Idempotency.of("key", surface="/v1", user_id="alice", request=b"{}")


@pytest.fixture
def erasure(redis: Redis) -> Erasure:
    return Erasure(redis)


async def ended(redis: Redis, queue: JobQueue, *, idempotency: Idempotency | None = None) -> Job:
    """A job that has been answered."""
    job = await admit(queue, idempotency=idempotency)
    claim = await claim_next(queue)
    await append(redis, claim, (EventKind.DONE, b"{}"))
    assert await finish(redis, queue, claim)
    return job


async def keys_of(redis: Redis, job: Job) -> list[bytes]:
    return await redis.keys(f"*{job.id}*")


async def test_a_job_that_has_ended_goes_with_its_log_and_its_key(
    erasure: Erasure, redis: Redis, queue: JobQueue
) -> None:
    job = await ended(redis, queue, idempotency=KEY)

    await erasure.erase_jobs([job.id])

    assert await keys_of(redis, job) == []
    assert await redis.exists(KEY.key) == 0


async def test_a_job_that_runs_goes_soon_after_its_end(erasure: Erasure, redis: Redis, queue: JobQueue) -> None:
    job = await admit(queue, idempotency=KEY)
    claim = await claim_next(queue)

    await erasure.erase_jobs([job.id])
    await append(redis, claim, (EventKind.DONE, b"{}"))
    assert await finish(redis, queue, claim)

    assert await redis.exists(KEY.key) == 0
    for key in await keys_of(redis, job):
        assert 0 < await redis.pttl(key) <= AFTER_MS


async def test_a_job_that_waits_goes_soon_after_it_is_stopped(erasure: Erasure, redis: Redis, queue: JobQueue) -> None:
    job = await admit(queue)

    await erasure.erase_jobs([job.id, new_id()])

    assert await redis.pttl(redis_keys.JOB + job.id) > AFTER_MS
    await queue.stop(job.id, error=JobCancelledError("Enough."), status=JobStatus.CANCELLED)
    for prefix in (redis_keys.JOB, redis_keys.LOG):
        assert 0 < await redis.pttl(prefix + job.id) <= AFTER_MS


async def test_any_number_is_erased(erasure: Erasure, redis: Redis, queue: JobQueue) -> None:
    job = await ended(redis, queue)

    await erasure.erase_jobs([*(new_id() for _ in range(2 * AT_ONCE)), job.id])

    assert await keys_of(redis, job) == []


async def test_the_lists_of_an_owner_go_and_those_of_others_stay(
    erasure: Erasure, redis: Redis, queue: JobQueue
) -> None:
    await redis.zadd(redis_keys.MODELS, {MODEL: 1})
    await admit(queue, make_job(user="alice", api_key_id="of-alice"))
    await admit(queue, make_job(user="bob"))

    await erasure.forget_owner("alice", ["of-alice"])

    assert await redis.keys("*alice*") == []
    assert await redis.zrange(redis_keys.FAIR + MODEL, 0, -1) == [b"bob"]
    assert await redis.exists(redis_keys.JOBS + "bob") == 1
