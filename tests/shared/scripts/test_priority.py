"""Batches let others go first, for a while."""

from redis.asyncio import Redis

from shared import redis_keys
from shared.durable_queue import DurableQueue
from shared.job_queue import JobQueue
from shared.jobs import BATCH_LAG, Job
from shared.verdicts import Admitted
from tests.jobs import CHANNEL, MODEL, RETENTION_MS, admit, claim_next, make_job, try_to_admit


async def claimed(queue: JobQueue, jobs: int) -> list[Job]:
    """Return jobs in the order in which a worker with one slot gets them."""
    return [(await claim_next(queue)).job for _ in range(jobs)]


async def test_who_comes_later_goes_first_but_for_batches(queue: JobQueue) -> None:
    batch = await admit(queue, make_job(user="bob", is_batch=True))
    verdict = await try_to_admit(queue, make_job(user="carol"))
    assert isinstance(verdict, Admitted)
    assert verdict.place.position == 1
    await admit(queue, make_job(user="dave", is_batch=True))

    order = await claimed(queue, 3)

    assert [job.user_id for job in order] == ["carol", "bob", "dave"]
    assert order[1] == batch


async def test_a_batch_that_waits_comes_up_however_many_go_first(queue: JobQueue) -> None:
    """Somebody always has a job more: after so many turns it is the batch's."""
    await admit(queue, make_job(user="carol"))
    await admit(queue, make_job(user="bob", is_batch=True))
    order: list[str] = []
    while "bob" not in order:
        await admit(queue, make_job(user="carol"))
        order += [job.user_id for job in await claimed(queue, 1)]

    assert BATCH_LAG <= len(order) <= BATCH_LAG + 2


async def test_a_batch_does_not_delay_what_else_its_user_asks_for(queue: JobQueue) -> None:
    for _ in range(50):
        await admit(queue, make_job(user="bob", is_batch=True))
    for user in ("carol", "bob", "carol", "bob"):
        await admit(queue, make_job(user=user))

    order = await claimed(queue, 4)

    assert [(job.user_id, job.is_batch) for job in order] == [("carol", False), ("bob", False)] * 2


async def test_a_batch_that_runs_because_nobody_else_wants_to_does_not_age_the_rest(
    queue: JobQueue, redis: Redis
) -> None:
    for _ in range(3 * BATCH_LAG):
        await admit(queue, make_job(user="bob", is_batch=True))
    await claimed(queue, 3)
    assert float(await redis.hget(redis_keys.PACE + MODEL, "virtual") or -1) == 2  # pyright: ignore[reportGeneralTypeIssues]

    for _ in range(BATCH_LAG - 1):
        await admit(queue, make_job(user="carol"))

    assert {job.user_id for job in await claimed(queue, BATCH_LAG - 1)} == {"carol"}


async def test_batches_are_fair_among_each_other(queue: JobQueue) -> None:
    for _ in range(20):
        await admit(queue, make_job(user="bob", is_batch=True))
    await admit(queue, make_job(user="dave", is_batch=True))

    assert "dave" in [job.user_id for job in await claimed(queue, 3)]


async def test_one_that_was_put_back_goes_first_like_others(queue: JobQueue) -> None:
    batch = await admit(queue, make_job(user="bob", is_batch=True))
    await queue.requeue(await claim_next(queue), failed=False)
    await admit(queue, make_job(user="carol"))

    assert await claimed(queue, 1) == [batch]


async def test_a_durable_batch_lags_too(queue: JobQueue, redis: Redis) -> None:
    durable = DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)
    batch = make_job(user="bob", is_batch=True, is_durable=True)
    await durable.enqueue(batch, channel=CHANNEL, queue_timeout_ms=60_000, idempotency=None)
    await admit(queue, make_job(user="carol"))

    assert [job.user_id for job in await claimed(queue, 2)] == ["carol", "bob"]
