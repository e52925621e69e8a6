"""A durable job holds a place until it is stored, then it is enqueued once, by whoever comes first."""

import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.demand import Demand, Limit
from shared.durable_queue import HOLD_MS, DurableQueue
from shared.idempotency import Idempotency
from shared.job_queue import JobQueue
from shared.jobs import Job, JobStatus
from shared.verdicts import Admitted, Attached, BeingStored, KeyMismatched, LimitReached, Place, QueueFull, Verdict
from tests.jobs import CHANNEL, MODEL, RETENTION_MS, admit, claim_next, finish, make_job, state_of, try_to_admit

WIDE = Limit(scope="user", name="alice", per_minute=600, burst=10)
TIGHT = Limit(scope="address", name="192.0.2.1", per_minute=60, burst=1)
DAY_MS = 86_400_000
KEY = Idempotency.of("key", surface="/v1", user_id="alice", request=b"1")
OTHER_BODY = Idempotency.of("key", surface="/v1", user_id="alice", request=b"2")


@pytest.fixture
def durable(queue: JobQueue, redis: Redis) -> DurableQueue:
    del queue  # it sees to it that all keys expire
    return DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=DAY_MS)


async def reserve(
    durable: DurableQueue,
    job: Job,
    *,
    limits: tuple[Limit, ...] = (),
    max_depth: int = 10,
    idempotency: Idempotency | None = None,
) -> Verdict:
    return await durable.reserve(job, demand=Demand(requests=limits), max_depth=max_depth, idempotency=idempotency)


async def enqueue(durable: DurableQueue, job: Job, *, idempotency: Idempotency | None = None) -> Place | None:
    return await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=5_000, idempotency=idempotency)


async def whole_at_us(redis: Redis, limit: Limit) -> int:
    state = await redis.get(limit.key)
    assert state is not None
    return int(state.split()[0])


async def dump(redis: Redis) -> dict[bytes, bytes | None]:
    return {key: await redis.dump(key) for key in await redis.keys()}


class TestAReservation:
    async def test_counts_towards_the_bound_of_all_who_come_after(self, durable: DurableQueue, queue: JobQueue) -> None:
        await admit(queue, max_depth=2)
        assert isinstance(await reserve(durable, make_job(), max_depth=2), Admitted)

        assert await reserve(durable, make_job(), max_depth=2) == QueueFull(depth=2, service_ms=0, limits=())
        assert await try_to_admit(queue, make_job(), max_depth=2) == QueueFull(depth=2, service_ms=0, limits=())

    async def test_is_held_for_a_while_and_then_given_up(self, durable: DurableQueue, redis: Redis) -> None:
        job = make_job(is_durable=True)
        await reserve(durable, job)

        held_until_ms = await redis.zscore(redis_keys.RESERVED + MODEL, job.id)
        seconds, micros = await redis.time()
        assert held_until_ms is not None
        assert 0 < held_until_ms - (seconds * 1000 + micros // 1000) <= HOLD_MS
        await redis.zadd(redis_keys.RESERVED + MODEL, {job.id: 0})
        assert isinstance(await reserve(durable, make_job(), max_depth=1), Admitted)

    async def test_is_not_claimed(self, durable: DurableQueue, queue: JobQueue) -> None:
        await reserve(durable, make_job())
        assert await queue.claim("worker", {MODEL: 1}, limit=1) == []

    @pytest.mark.parametrize("refusal", ["limit", "bound"])
    async def test_that_is_refused_writes_nothing(
        self, durable: DurableQueue, queue: JobQueue, redis: Redis, refusal: str
    ) -> None:
        await admit(queue, limits=[TIGHT])
        before = await dump(redis)

        limits = (WIDE, TIGHT) if refusal == "limit" else (WIDE,)
        verdict = await reserve(durable, make_job(), limits=limits, max_depth=1, idempotency=KEY)

        assert isinstance(verdict, LimitReached if refusal == "limit" else QueueFull)
        assert await dump(redis) == before

    async def test_that_is_abandoned_was_never_there(self, durable: DurableQueue, redis: Redis) -> None:
        job = make_job()
        await reserve(durable, make_job(), limits=(WIDE,))
        before = await whole_at_us(redis, WIDE)
        await reserve(durable, job, limits=(WIDE, TIGHT), idempotency=KEY)

        for _ in range(2):
            await durable.abandon(job, demand=Demand(requests=(WIDE, TIGHT)), idempotency=KEY)

        assert await whole_at_us(redis, WIDE) == before
        assert await redis.exists(TIGHT.key, KEY.key) == 0
        assert await redis.zcard(redis_keys.RESERVED + MODEL) == 1


class TestAStoredJob:
    async def test_is_enqueued_as_an_admitted_one_is(
        self, durable: DurableQueue, queue: JobQueue, redis: Redis
    ) -> None:
        admitted, stored = make_job(), make_job(is_durable=True)
        await admit(queue, admitted, queue_timeout_ms=5_000)
        await reserve(durable, stored)
        assert await enqueue(durable, stored) == Place(position=2, service_ms=0)

        volatile = ("is_durable", "admitted_ms", "time_to_live_ms")
        ours, theirs = await state_of(redis, stored), await state_of(redis, admitted)
        assert {**ours, **dict.fromkeys(volatile)} == {**theirs, **dict.fromkeys(volatile)}
        assert (ours["is_durable"], theirs["is_durable"]) == ("1", "")
        assert not await redis.exists(redis_keys.RESERVED + MODEL)
        assert [(await claim_next(queue)).job, (await claim_next(queue)).job] == [admitted, stored]

    async def test_stays_for_as_long_as_its_answer_would_be_kept(self, durable: DurableQueue, redis: Redis) -> None:
        job = make_job(is_durable=True)
        await enqueue(durable, job)
        for key in (redis_keys.JOB + job.id, redis_keys.PAYLOAD + job.id):
            assert 0.9 * DAY_MS < await redis.pttl(key) <= DAY_MS

    async def test_is_enqueued_once_whoever_asks_and_however_far_it_has_come(
        self, durable: DurableQueue, queue: JobQueue, redis: Redis
    ) -> None:
        job = make_job(is_durable=True)
        await enqueue(durable, job)
        assert await enqueue(durable, job) is None
        claim = await claim_next(queue)
        assert await enqueue(durable, job) is None
        await finish(redis, queue, claim)
        assert await enqueue(durable, job) is None
        assert (await state_of(redis, job))["status"] == JobStatus.COMPLETED
        assert await queue.claim("worker", {MODEL: 1}, limit=1) == []


class TestAnIdempotencyKey:
    async def test_of_a_job_that_is_being_stored_makes_others_wait(
        self, durable: DurableQueue, queue: JobQueue, redis: Redis
    ) -> None:
        await reserve(durable, make_job(), idempotency=KEY)
        before = await dump(redis)

        assert await reserve(durable, make_job(), limits=(WIDE,), idempotency=KEY) == BeingStored()
        assert await try_to_admit(queue, make_job(), limits=[WIDE], idempotency=KEY) == BeingStored()
        assert await reserve(durable, make_job(), limits=(WIDE,), idempotency=OTHER_BODY) == KeyMismatched()
        assert await dump(redis) == before

    async def test_stands_for_the_job_from_then_on(self, durable: DurableQueue, queue: JobQueue) -> None:
        job = make_job(is_durable=True)
        await reserve(durable, job, idempotency=KEY)
        await enqueue(durable, job, idempotency=KEY)

        assert await reserve(durable, make_job(), idempotency=KEY) == Attached(job.id, ())
        assert await try_to_admit(queue, make_job(), idempotency=KEY) == Attached(job.id, ())
        assert await reserve(durable, make_job(), idempotency=OTHER_BODY) == KeyMismatched()

    async def test_comes_back_with_the_job(self, durable: DurableQueue, redis: Redis) -> None:
        job = make_job(is_durable=True)
        await reserve(durable, job, idempotency=KEY)
        await redis.flushall()
        await enqueue(durable, job, idempotency=KEY)

        assert await reserve(durable, make_job(), idempotency=KEY) == Attached(job.id, ())
        assert 0.9 * DAY_MS < await redis.pttl(KEY.key) <= DAY_MS
