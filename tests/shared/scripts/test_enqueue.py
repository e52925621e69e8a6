"""Enqueueing what Redis has lost: no id that a reader may have is given to another event."""

import pytest
from redis.asyncio import Redis

from shared.durable_queue import DurableQueue
from shared.ended_jobs import EndedJobs
from shared.errors import JobCancelledError
from shared.events import EventKind
from shared.job_queue import JobQueue
from shared.jobs import Job, JobStatus
from shared.restoration import Restoration
from tests.jobs import CHANNEL, RETENTION_MS, append, claim_next, log_of, make_job, state_of


@pytest.fixture
def durable(queue: JobQueue, redis: Redis) -> DurableQueue:
    del queue  # it sees to it that all keys expire
    return DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)


async def enqueue(durable: DurableQueue, job: Job, *, is_again: bool = True) -> None:
    assert await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=60_000, idempotency=None, is_again=is_again)


async def test_what_was_never_there_begins_at_the_start(durable: DurableQueue, queue: JobQueue) -> None:
    await enqueue(durable, make_job(is_durable=True), is_again=False)
    claim = await claim_next(queue)
    assert (claim.last_seq, claim.last_event) == (0, b"")


async def test_a_log_that_was_lost_is_taken_up_in_the_middle_and_far_behind(
    redis: Redis, durable: DurableQueue, queue: JobQueue
) -> None:
    """Then the worker says `resumed`, and finds nothing to go on from."""
    job = make_job(is_durable=True)
    await enqueue(durable, job)
    claim = await claim_next(queue)
    assert claim.last_seq >= 4096
    assert claim.last_event == EventKind.RESUMED.value

    await append(redis, claim, (EventKind.RESUMED, b"{}"))
    assert [event.seq for event in await log_of(redis, job)] == [claim.last_seq + 1]
    assert (state := await queue.look(job.id))
    assert state.begins_after == claim.last_seq


async def test_so_is_the_end_of_a_job_that_did_not_run_again(
    redis: Redis, durable: DurableQueue, queue: JobQueue
) -> None:
    job = make_job(is_durable=True)
    await enqueue(durable, job)
    await queue.stop(job.id, error=JobCancelledError("Enough."), status=JobStatus.CANCELLED)
    ends = EndedJobs(redis)
    (end,) = (await ends.take(1)).values()

    await ends.publish(job.id, end)

    (event,) = await log_of(redis, job)
    assert event.kind == EventKind.ERROR.value
    assert event.seq == int((await state_of(redis, job))["begins_after"]) + 1


async def test_an_owner_that_comes_before_the_next_one_goes_on_as_if_nothing_had_been(
    redis: Redis, durable: DurableQueue, queue: JobQueue
) -> None:
    job = make_job(is_durable=True)
    await enqueue(durable, job, is_again=False)
    owner = await claim_next(queue)
    await append(redis, owner, (EventKind.STARTED, b"{}"))
    await redis.flushall()
    await enqueue(durable, job)

    await redis.execute_command(*Restoration().command(owner, [b"s{}"]))

    assert [event.seq for event in await log_of(redis, job)] == [1]
