"""Accepted jobs that Redis lacks are in the queue again within seconds, each once."""

import asyncio

import pytest
from redis.asyncio import Redis

from gateway.durability.restorer import Restorer
from shared.database import accepted_jobs
from shared.database.engine import Database
from shared.database.users import User
from shared.demand import NO_LIMITS
from shared.durable_queue import DurableQueue
from shared.idempotency import Idempotency
from shared.job_queue import JobQueue
from shared.jobs import Job
from shared.verdicts import Attached
from tests.jobs import CHANNEL, MODEL, RETENTION_MS, admit, claim_next, make_job, try_to_admit
from tests.waiting import wait_until

KEY = Idempotency.of("key", surface="/v1", user_id="ada", request=b"{}")


@pytest.fixture
def durable(queue: JobQueue, redis: Redis) -> DurableQueue:
    del queue  # it sees to it that all keys expire
    return DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)


@pytest.fixture
def restorer(redis: Redis, durable: DurableQueue, database: Database) -> Restorer:
    return Restorer(redis, durable, database, channel=CHANNEL)


async def accept(database: Database, user: User, *, idempotency: Idempotency | None = None) -> Job:
    """Have a job stored and not enqueued, long ago."""
    job = make_job(user=user.id, is_durable=True)
    async with database.transaction() as connection:
        await accepted_jobs.accept(connection, job, queue_timeout_ms=60_000, idempotency=idempotency)
    return job


async def restored(restorer: Restorer) -> int:
    """Restore as soon as there is something old enough, and return how many jobs that were."""

    async def restore() -> int:
        return await restorer.restore(workers_first_s=0)

    return await wait_until(restore, description="something is restored")


async def test_what_is_missing_is_enqueued_as_it_was_accepted(
    restorer: Restorer, queue: JobQueue, database: Database, ada: User
) -> None:
    job = await accept(database, ada)

    assert await restored(restorer) == 1

    assert (await claim_next(queue)).job == job
    assert await restorer.restore(workers_first_s=0) == 0


async def test_its_key_stands_for_it_again(
    restorer: Restorer, durable: DurableQueue, database: Database, ada: User
) -> None:
    job = await accept(database, ada, idempotency=KEY)
    await restored(restorer)

    again = await durable.reserve(make_job(is_durable=True), demand=NO_LIMITS, max_depth=10, idempotency=KEY)

    assert again == Attached(job_id=job.id, limits=())


async def test_a_key_that_was_used_since_stands_for_what_it_was_used_for(
    restorer: Restorer, queue: JobQueue, database: Database, ada: User
) -> None:
    await accept(database, ada, idempotency=KEY)
    later = await admit(queue, idempotency=KEY)
    await restored(restorer)

    assert await try_to_admit(queue, make_job(), idempotency=KEY) == Attached(job_id=later.id, limits=())


async def test_what_is_there_stays_as_it_is(
    restorer: Restorer, durable: DurableQueue, queue: JobQueue, database: Database, ada: User
) -> None:
    there = await accept(database, ada)
    await durable.enqueue(there, channel=CHANNEL, queue_timeout_ms=60_000, idempotency=None)
    missing = await accept(database, ada)

    assert await restored(restorer) == 1
    assert {claim.job.id for claim in await queue.claim("w", {MODEL: 9}, limit=9)} == {there.id, missing.id}


async def test_many_gateways_at_once_enqueue_each_job_once(
    redis: Redis, durable: DurableQueue, queue: JobQueue, database: Database, ada: User
) -> None:
    jobs = [await accept(database, ada) for _ in range(5)]
    restorers = [Restorer(redis, durable, database, channel=CHANNEL) for _ in range(4)]

    async def all_at_once() -> int:
        return sum(await asyncio.gather(*(restorer.restore(workers_first_s=0) for restorer in restorers)))

    restored = 0
    while restored < len(jobs):
        restored += await all_at_once()

    claims = await queue.claim("w", {MODEL: 99}, limit=99)
    assert sorted(claim.job.id for claim in claims) == [job.id for job in jobs]
    assert restored == len(jobs)
