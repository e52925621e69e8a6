"""The jobs of a worker that is known to be dead are free at once, and only those."""

from redis.asyncio import Redis

from shared.job_queue import JobQueue
from tests.jobs import MODEL, admit
from tests.listening import listening

SLOTS = {MODEL: 10}


async def test_another_worker_has_them_at_once(redis: Redis) -> None:
    """However long the lease still is; the dead worker's attempt counts as failed."""
    queue = JobQueue(redis, lease_ms=60_000)
    job = await admit(queue)
    await queue.claim("dead", SLOTS, limit=10)
    assert await queue.claim("alive", SLOTS, limit=10) == []

    assert await queue.release("dead", [MODEL]) == 1

    (claim,) = await queue.claim("alive", SLOTS, limit=10)
    assert (claim.job.id, claim.failures) == (job.id, 1)


async def test_nobody_else_loses_theirs(redis: Redis) -> None:
    queue = JobQueue(redis, lease_ms=60_000)
    await admit(queue)
    await queue.claim("alive", SLOTS, limit=10)

    assert await queue.release("dead", [MODEL]) == 0
    assert await queue.claim("another", SLOTS, limit=10) == []


async def test_the_others_are_woken(redis: Redis) -> None:
    queue = JobQueue(redis)
    await admit(queue)
    await queue.claim("dead", SLOTS, limit=10)

    async with listening(redis, f"ds:wake:{MODEL}") as hear:
        await queue.release("dead", [MODEL])
        assert await hear() == b""
