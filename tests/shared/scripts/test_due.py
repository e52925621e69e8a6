"""What nobody waits for any longer is listed, and attending to a job keeps it off that list."""

from redis.asyncio import Redis

from shared import redis_keys
from shared.errors import JobCancelledError
from shared.ids import new_id
from shared.job_queue import JobQueue
from shared.jobs import JobStatus
from tests.jobs import CHANNEL, admit
from tests.waiting import wait_until


async def cancel(queue: JobQueue, job_id: str) -> None:
    await queue.stop(job_id, error=JobCancelledError(""), status=JobStatus.CANCELLED)


async def test_a_job_is_overdue_when_its_time_in_the_queue_is_over(queue: JobQueue) -> None:
    job = await admit(queue, queue_timeout_ms=20)
    await admit(queue)

    assert await wait_until(queue.overdue, description="a job is overdue") == [job.id]


async def test_a_job_is_unattended_when_nobody_has_attended_to_it_in_time(queue: JobQueue) -> None:
    job = await admit(queue, unattended_ms=20)
    await admit(queue, unattended_ms=60_000)
    await admit(queue)

    assert await wait_until(queue.unattended, description="a job is unattended") == [job.id]


async def test_attending_puts_the_cancellation_off_and_leaving_brings_it_near(queue: JobQueue) -> None:
    job = await admit(queue, unattended_ms=1)

    await queue.attend([job.id], gateway=CHANNEL, for_ms=60_000, grace_ms=0)
    assert await queue.unattended() == []

    await queue.attend([job.id], gateway=CHANNEL, for_ms=0, grace_ms=0)
    assert await queue.unattended() == [job.id]


async def test_a_reader_that_leaves_does_not_take_the_job_from_one_at_another_gateway(queue: JobQueue) -> None:
    job = await admit(queue, unattended_ms=60_000)  # and read at CHANNEL from then on
    await queue.attend([job.id], gateway="elsewhere", for_ms=60_000, grace_ms=0)

    await queue.attend([job.id], gateway="elsewhere", for_ms=0, grace_ms=0)
    assert await queue.unattended() == []

    await queue.attend([job.id], gateway=CHANNEL, for_ms=0, grace_ms=0)
    assert await queue.unattended() == [job.id]


async def test_a_gateway_that_says_nothing_more_is_given_up(queue: JobQueue) -> None:
    job = await admit(queue, unattended_ms=1)
    await queue.attend([job.id], gateway="elsewhere", for_ms=60_000, grace_ms=0)

    await queue.attend([job.id], gateway="elsewhere", for_ms=0, grace_ms=0)

    assert await wait_until(queue.unattended, description="the lease has ended") == [job.id]


async def test_without_readers_a_job_goes_on_for_its_grace(queue: JobQueue) -> None:
    job = await admit(queue, unattended_ms=60_000)

    await queue.attend([job.id], gateway=CHANNEL, for_ms=0, grace_ms=60_000)
    assert await queue.unattended() == []

    await queue.attend([job.id], gateway=CHANNEL, for_ms=0, grace_ms=20)
    assert await wait_until(queue.unattended, description="the grace has passed") == [job.id]


async def test_attending_to_jobs_that_run_on_or_are_gone_changes_nothing(queue: JobQueue, redis: Redis) -> None:
    """Otherwise jobs that have ended would stay on the list, and durable ones would be cancelled."""
    ended = await admit(queue, unattended_ms=60_000)
    await cancel(queue, ended.id)
    durable = await admit(queue)

    for job_id in (ended.id, durable.id, new_id()):
        await queue.attend([job_id], gateway=CHANNEL, for_ms=60_000, grace_ms=0)
        await queue.attend([job_id], gateway=CHANNEL, for_ms=0, grace_ms=0)

    assert await redis.exists(redis_keys.ATTENDED) == 0


async def test_lists_are_as_long_as_asked_for_and_begin_with_the_longest_due(queue: JobQueue, redis: Redis) -> None:
    ids = [new_id() for _ in range(5)]
    await redis.zadd(redis_keys.DEADLINES, {id_: due for due, id_ in enumerate(ids)})

    assert await queue.overdue(3) == ids[:3]


async def test_ids_of_jobs_that_redis_has_lost_leave_the_lists(queue: JobQueue, redis: Redis) -> None:
    """Otherwise a hundred of them fill every list for ever, and nothing that is due is ended any more."""
    lost = [new_id() for _ in range(100)]
    for due in (redis_keys.DEADLINES, redis_keys.ATTENDED):
        await redis.zadd(due, dict.fromkeys(lost, 0))
    job = await admit(queue, queue_timeout_ms=1, unattended_ms=1)

    for job_id in await queue.overdue():
        await cancel(queue, job_id)

    assert await wait_until(queue.overdue, description="the job is overdue") == [job.id]
    assert await queue.unattended() == [job.id]


async def test_somebody_else_asking_does_not_take_a_job_off_the_lists(queue: JobQueue) -> None:
    job = await admit(queue, queue_timeout_ms=1)

    stopped = await queue.stop(job.id, error=JobCancelledError(""), status=JobStatus.CANCELLED, user_id="mallory")

    assert stopped is None
    assert await wait_until(queue.overdue, description="the job is overdue") == [job.id]
