"""Restoring: a claimed job that Redis has lost is as it was, in the hands of one owner."""

from typing import Any

from redis.asyncio import Redis

from shared import redis_keys
from shared.demand import NO_LIMITS
from shared.durable_queue import DurableQueue
from shared.errors import JobCancelledError
from shared.events import EventKind
from shared.idempotency import Idempotency
from shared.job_queue import Claim, JobQueue
from shared.jobs import Job, JobStatus, decode_job
from shared.restoration import READERS_RETURN_MS, Restoration
from shared.verdicts import Admitted, Attached, Verdict
from tests.jobs import (
    CHANNEL,
    MODEL,
    RETENTION_MS,
    admit,
    append,
    claim_next,
    finish,
    log_of,
    make_job,
    state_of,
    taken_over,
    try_to_admit,
)
from tests.snapshot import Snapshot

WEEK_MS = 7 * 86_400_000
KEY = Idempotency.of("key", surface="/v1/chat", user_id="alice", request=b"{}")


async def restore(redis: Redis, claim: Claim) -> int:
    """Have the worker that claimed a job, and has written nothing, put it back."""
    command = Restoration().command(claim, [])
    answer: Any = await redis.execute_command(*command)
    return int(answer)


async def lists_with(redis: Redis, job: Job) -> list[str]:
    """Return the sorted sets that a job is in."""
    lists = (
        redis_keys.WAITING + MODEL,
        redis_keys.DELAYED + MODEL,
        redis_keys.RUNNING + MODEL,
        redis_keys.DEADLINES,
        redis_keys.ATTENDED,
    )
    return [key for key in lists if await redis.zscore(key, job.id) is not None]


async def test_everything_is_as_it_was(queue: JobQueue, redis: Redis) -> None:
    job = await admit(queue, unattended_ms=1_000, grace_ms=2_000)
    claim = await claim_next(queue)
    state, lists = await state_of(redis, job), await lists_with(redis, job)
    keys = set(await redis.keys(f"*{job.id}"))
    lifetimes = {key: await redis.pttl(key) for key in keys}
    await redis.flushall()

    assert await restore(redis, claim) == 1

    assert await state_of(redis, job) == state
    assert await lists_with(redis, job) == lists
    payload = await redis.get(redis_keys.PAYLOAD + job.id)
    assert payload is not None
    assert decode_job(payload) == job
    assert set(await redis.keys(f"*{job.id}")) == keys - {f"ds:readers:{job.id}".encode()}  # they say so themselves
    for key in await redis.keys(f"*{job.id}"):
        assert abs(await redis.pttl(key) - lifetimes[key]) < 20_000
    assert (await queue.heartbeat("worker", [(claim, 1)])).answers == ["held"]
    assert await finish(redis, queue, claim)


async def test_a_durable_job_stays_for_as_long_as_its_answer_would_be_kept(queue: JobQueue, redis: Redis) -> None:
    job = make_job(is_durable=True)
    durable = DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=WEEK_MS)
    await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=60_000, idempotency=None)
    claim = await claim_next(queue)
    await redis.flushall()

    await restore(redis, claim)

    for key in (redis_keys.JOB + job.id, redis_keys.LOG + job.id):
        assert 0.9 * WEEK_MS < await redis.pttl(key) <= WEEK_MS


async def test_its_readers_have_time_to_say_that_they_are_there(queue: JobQueue, redis: Redis) -> None:
    job = await admit(queue, unattended_ms=1_000, grace_ms=2_000)
    claim = await claim_next(queue)
    await redis.flushall()
    await restore(redis, claim)

    seconds, microseconds = await redis.time()
    due_ms = await redis.zscore(redis_keys.ATTENDED, job.id)
    assert due_ms is not None
    assert 0 < due_ms - (seconds * 1000 + microseconds // 1000) <= READERS_RETURN_MS + 2_000
    await queue.attend([job.id], gateway=CHANNEL, for_ms=60_000, grace_ms=2_000)
    later_ms = await redis.zscore(redis_keys.ATTENDED, job.id)
    assert later_ms is not None
    assert later_ms > due_ms + 30_000


async def test_a_job_that_needs_no_readers_needs_none(queue: JobQueue, redis: Redis) -> None:
    job = await admit(queue, unattended_ms=0)
    claim = await claim_next(queue)
    await redis.flushall()
    await restore(redis, claim)

    assert redis_keys.ATTENDED not in await lists_with(redis, job)


async def test_one_that_was_submitted_again_is_its_owners(queue: JobQueue, redis: Redis) -> None:
    job = await admit(queue)
    claim = await claim_next(queue)
    await redis.flushall()
    await admit(queue, job)

    assert await restore(redis, claim) == 1

    assert await lists_with(redis, job) == [redis_keys.RUNNING + MODEL, redis_keys.DEADLINES]
    assert int((await state_of(redis, job))["epoch"]) == claim.epoch
    assert await queue.claim("w2", {MODEL: 1}, limit=1) == []


async def test_one_that_another_worker_has_claimed_since_is_left_alone(queue: JobQueue, redis: Redis) -> None:
    job = await admit(queue)
    claim = await claim_next(queue)
    await taken_over(redis, claim)
    state, log = await state_of(redis, job), await redis.dump(redis_keys.LOG + job.id)

    assert await restore(redis, claim) == 0

    assert await state_of(redis, job) == state
    assert await redis.dump(redis_keys.LOG + job.id) == log


async def test_one_that_has_ended_or_was_put_back_is_left_alone(queue: JobQueue, redis: Redis) -> None:
    ended, stopped, put_back = [(await admit(queue), await claim_next(queue)) for _ in range(3)]
    await finish(redis, queue, ended[1])
    await redis.zrem(redis_keys.RUNNING + MODEL, stopped[0].id)  # its lease has ended
    await queue.stop(stopped[0].id, error=JobCancelledError(""), status=JobStatus.CANCELLED)
    await queue.requeue(put_back[1], failed=False)

    for job, claim in (ended, stopped, put_back):
        state = await state_of(redis, job)
        assert await restore(redis, claim) == 0
        assert await state_of(redis, job) == state


async def test_what_earlier_owners_wrote_stays_as_far_as_it_was_taken_over(queue: JobQueue, redis: Redis) -> None:
    """An owner that was lost and does not know it may have put its job back before the new one did."""
    job = await admit(queue)
    first = await claim_next(queue)
    await append(redis, first, (EventKind.CHUNK, b"1"), (EventKind.CHUNK, b"2"))
    before = await Snapshot.of(redis)
    second = await taken_over(redis, first)
    await before.bring_back()
    await redis.xadd(redis_keys.LOG + job.id, {"e": b"ctoo late"}, id=f"{first.epoch}-3")

    assert await restore(redis, second) == 3  # a claim and an entry of the first, and the claim of the second

    assert [event.payload for event in await log_of(redis, job)] == [b"1", b"2"]
    assert (await queue.heartbeat("worker", [(first, 0)])).answers == ["taken"]


async def test_its_idempotency_key_stands_for_it_again(queue: JobQueue, redis: Redis) -> None:
    job = await admit(queue, idempotency=KEY)
    claim = await claim_next(queue)
    await redis.flushall()
    await restore(redis, claim)

    again = await try_to_admit(queue, make_job(), idempotency=KEY)
    assert isinstance(again, Attached)
    assert again.job_id == job.id


async def test_the_key_of_a_durable_one_stands_for_it_again(queue: JobQueue, redis: Redis) -> None:
    durable = DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=WEEK_MS)
    job = make_job(is_durable=True)
    await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=60_000, idempotency=KEY)
    claim = await claim_next(queue)
    await redis.flushall()
    await restore(redis, claim)

    again = await durable.reserve(make_job(is_durable=True), demand=NO_LIMITS, max_depth=10, idempotency=KEY)
    assert again == Attached(job_id=job.id, limits=())


async def test_one_whose_fingerprint_nobody_knows_leaves_its_key_free(queue: JobQueue, redis: Redis) -> None:
    """A gateway of an earlier release enqueued it."""
    await admit(queue, idempotency=KEY)
    claim = await claim_next(queue)
    del claim.state[b"fingerprint"]
    await redis.flushall()

    assert await restore(redis, claim) == 1

    assert not await redis.exists(KEY.key)
    assert isinstance(await try_to_admit(queue, make_job(), idempotency=KEY), Admitted)


async def test_of_which_the_key_was_used_again_is_resubmitted_all_the_same(queue: JobQueue, redis: Redis) -> None:
    """Two requests are two jobs now, and each has its reader."""
    first = await admit(queue, idempotency=KEY)
    await redis.flushall()
    second = await admit(queue, idempotency=KEY)

    assert isinstance(await try_to_admit(queue, first, idempotency=KEY, waited_ms=1_000), Admitted)

    assert [(await claim_next(queue)).job for _ in range(2)] == [second, first]
    attached = await try_to_admit(queue, make_job(), idempotency=KEY)
    assert isinstance(attached, Attached)
    assert attached.job_id == second.id


async def test_is_resubmitted_only_when_it_is_missing(queue: JobQueue, redis: Redis) -> None:
    job = await admit(queue, make_job(), queue_timeout_ms=5_000, unattended_ms=1_000, grace_ms=2_000)
    state, lists = await state_of(redis, job), await lists_with(redis, job)

    async def resubmit() -> Verdict:
        return await try_to_admit(
            queue, job, max_depth=1, queue_timeout_ms=5_000, unattended_ms=1_000, grace_ms=2_000, waited_ms=4_000
        )

    assert isinstance(await resubmit(), Attached)
    assert await state_of(redis, job) == state
    await redis.flushall()
    assert isinstance(await resubmit(), Admitted)

    again = await state_of(redis, job)
    deadline_ms = await redis.zscore(redis_keys.DEADLINES, job.id)
    assert await lists_with(redis, job) == lists
    assert again | {"admitted_ms": state["admitted_ms"]} == state
    assert deadline_ms == int(again["admitted_ms"]) + 5_000
    claim = await claim_next(queue)
    assert claim.job == job
    assert claim.queue_ms >= 4_000
