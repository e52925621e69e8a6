"""How many jobs and streams somebody has at once; whatever dies, nothing counts that is not there any more."""

import asyncio
from collections import Counter

import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.demand import STREAM_LEASE_MS, Concurrency, Demand
from shared.durable_queue import HOLD_MS, DurableQueue
from shared.errors import JobCancelledError
from shared.idempotency import Idempotency
from shared.job_queue import JobQueue
from shared.jobs import Job, JobStatus
from shared.restoration import Restoration
from shared.verdicts import Admitted, Attached, ConcurrencyReached, LimitReached, Verdict
from tests.jobs import CHANNEL, MODEL, RETENTION_MS, admit, claim_next, finish, make_job, try_to_admit
from tests.limits import spent, tokens

MOST = 2
JOBS = Concurrency("user", "alice", "jobs", MOST)
STREAMS = Concurrency("user", "alice", "streams", MOST)
KEY = Idempotency.of("key", surface="/v1", user_id="alice", request=b"1")
ONE_MORE_JOB = Demand(jobs=(JOBS,))


def one_more_stream(id_: str) -> Demand:
    return Demand(streams=(STREAMS,), stream_id=id_)


async def ask(queue: JobQueue, job: Job | None = None) -> Verdict:
    return await try_to_admit(queue, job or make_job(), demand=ONE_MORE_JOB)


@pytest.fixture
async def two(queue: JobQueue) -> list[Job]:
    """As many jobs as alice may have."""
    return [await admit(queue, demand=ONE_MORE_JOB) for _ in range(MOST)]


class TestJobs:
    async def test_one_more_is_refused_and_nothing_spent(self, two: list[Job], queue: JobQueue, redis: Redis) -> None:
        del two
        before = {key: await redis.dump(key) for key in await redis.keys()}
        wide = Concurrency("key", "k", "jobs", 10)

        demand = Demand(tokens=(tokens(5),), jobs=(wide, JOBS))
        refused = await try_to_admit(queue, make_job(), demand=demand)

        assert refused == ConcurrencyReached(index=2, service_ms=0)
        assert {key: await redis.dump(key) for key in await redis.keys()} == before

    async def test_of_200_at_once_exactly_so_many_are_let_in(self, queue: JobQueue) -> None:
        verdicts = await asyncio.gather(*(ask(queue) for _ in range(200)))

        assert Counter(map(type, verdicts)) == {Admitted: MOST, ConcurrencyReached: 200 - MOST}

    async def test_what_a_rate_refuses_as_well_is_told_as_that(self, two: list[Job], queue: JobQueue) -> None:
        del two
        await admit(queue, demand=Demand(tokens=(tokens(1000),)))

        refused = await try_to_admit(queue, make_job(), demand=Demand(tokens=(tokens(1),), jobs=(JOBS,)))

        assert isinstance(refused, LimitReached)

    async def test_the_wait_is_told_from_how_long_jobs_take(
        self, two: list[Job], queue: JobQueue, redis: Redis
    ) -> None:
        del two
        await redis.hset(redis_keys.PACE + MODEL, "service_ms", "1234")  # pyright: ignore[reportGeneralTypeIssues]

        assert await ask(queue) == ConcurrencyReached(index=1, service_ms=1234)

    async def test_a_running_one_counts_and_one_that_has_ended_does_not(
        self, two: list[Job], queue: JobQueue, redis: Redis
    ) -> None:
        del two
        claim = await claim_next(queue)
        assert isinstance(await ask(queue), ConcurrencyReached)

        await finish(redis, queue, claim)

        assert isinstance(await ask(queue), Admitted)
        assert isinstance(await ask(queue), ConcurrencyReached)

    async def test_one_that_was_put_back_counts(self, two: list[Job], queue: JobQueue) -> None:
        del two
        await queue.requeue(await claim_next(queue), failed=True)

        assert isinstance(await ask(queue), ConcurrencyReached)

    async def test_one_that_was_stopped_does_not_count(self, two: list[Job], queue: JobQueue) -> None:
        await queue.stop(two[0].id, error=JobCancelledError("Stopped."), status=JobStatus.CANCELLED)

        assert isinstance(await ask(queue), Admitted)

    async def test_ended_ones_are_listed_for_a_while_and_then_forgotten(
        self, two: list[Job], queue: JobQueue, redis: Redis
    ) -> None:
        await finish(redis, queue, await claim_next(queue))
        assert await queue.jobs_of("alice") == sorted((job.id for job in two), reverse=True)
        await redis.zadd(redis_keys.JOBS + "alice", {two[0].id: -1})

        newest = await admit(queue)

        assert await queue.jobs_of("alice") == [newest.id, two[1].id]

    async def test_other_users_have_their_own(self, two: list[Job], queue: JobQueue) -> None:
        del two
        bobs = Demand(jobs=(Concurrency("user", "bob", "jobs", 1),))

        assert isinstance(await try_to_admit(queue, make_job(user="bob"), demand=bobs), Admitted)
        assert isinstance(await try_to_admit(queue, make_job(user="bob"), demand=bobs), ConcurrencyReached)

    async def test_those_of_a_key_count_for_it_and_for_its_owner(self, queue: JobQueue, redis: Redis) -> None:
        keys_limit = Demand(jobs=(Concurrency("key", "k", "jobs", 1),))
        await admit(queue, make_job(api_key_id="k"))
        assert isinstance(await try_to_admit(queue, make_job(api_key_id="k"), demand=keys_limit), ConcurrencyReached)
        await admit(queue)
        assert isinstance(await ask(queue), ConcurrencyReached)

        await finish(redis, queue, await claim_next(queue))

        assert isinstance(await try_to_admit(queue, make_job(api_key_id="k"), demand=keys_limit), Admitted)

    async def test_attaching_needs_no_room(self, queue: JobQueue) -> None:
        one = Demand(jobs=(Concurrency("user", "alice", "jobs", 1),))
        await admit(queue, demand=one, idempotency=KEY)

        assert isinstance(await try_to_admit(queue, make_job(), demand=one, idempotency=KEY), Attached)

    async def test_those_that_redis_forgot_count_again_when_they_are_put_back(
        self, two: list[Job], queue: JobQueue, redis: Redis
    ) -> None:
        claim = await claim_next(queue)
        await redis.flushall()
        assert isinstance(await ask(queue), Admitted)

        await redis.execute_command(*Restoration().command(claim, []))
        assert isinstance(await ask(queue), ConcurrencyReached)
        await try_to_admit(queue, two[1], demand=ONE_MORE_JOB, waited_ms=5)  # never refused

        await finish(redis, queue, await claim_next(queue))
        assert isinstance(await ask(queue), ConcurrencyReached)
        await finish(redis, queue, claim)
        assert isinstance(await ask(queue), Admitted)

    async def test_one_of_which_nothing_is_left_counts_no_longer_than_it_could_have_lived(
        self, two: list[Job], queue: JobQueue, redis: Redis
    ) -> None:
        """As after a loss of single keys, which nothing repairs."""
        now_ms = int((await redis.time())[0]) * 1000
        lives_until_ms = await redis.zscore(redis_keys.JOBS + "alice", two[0].id)
        assert lives_until_ms is not None
        assert lives_until_ms <= now_ms + 1000 + 3 * 120_000 + RETENTION_MS
        await redis.zadd(redis_keys.JOBS + "alice", {two[0].id: now_ms - 1})

        assert isinstance(await ask(queue), Admitted)


class TestReservedJobs:
    @pytest.fixture
    def durable(self, queue: JobQueue, redis: Redis) -> DurableQueue:
        del queue  # it sees to it that all keys expire
        return DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)

    async def reserve(self, durable: DurableQueue, job: Job) -> Verdict:
        return await durable.reserve(job, demand=ONE_MORE_JOB, max_depth=9, idempotency=None)

    async def test_count_while_they_are_stored_and_no_longer_when_they_are_not(self, durable: DurableQueue) -> None:
        jobs = [make_job(is_durable=True) for _ in range(MOST)]
        for job in jobs:
            assert isinstance(await self.reserve(durable, job), Admitted)
        assert isinstance(await self.reserve(durable, make_job()), ConcurrencyReached)

        await durable.abandon(jobs[0], demand=ONE_MORE_JOB, idempotency=None)

        assert isinstance(await self.reserve(durable, make_job()), Admitted)

    async def test_count_for_the_time_of_the_hold_if_their_gateway_dies(
        self, durable: DurableQueue, redis: Redis
    ) -> None:
        job = make_job(is_durable=True)
        await self.reserve(durable, job)

        until_ms = await redis.zscore(redis_keys.JOBS + "alice", job.id)
        assert until_ms is not None
        assert 0 < until_ms - int((await redis.time())[0]) * 1000 <= HOLD_MS + 1000
        assert 0 < await redis.pttl(redis_keys.JOBS + "alice") <= HOLD_MS

    async def test_count_from_then_on_when_they_are_enqueued(self, durable: DurableQueue, redis: Redis) -> None:
        job = make_job(is_durable=True)
        await self.reserve(durable, job)
        await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=60_000, idempotency=None)

        assert await redis.pttl(redis_keys.JOBS + "alice") > HOLD_MS
        assert isinstance(await self.reserve(durable, make_job()), Admitted)
        assert isinstance(await self.reserve(durable, make_job()), ConcurrencyReached)


class TestStreams:
    async def test_one_more_is_refused_however_its_job_would_come_to_be(self, queue: JobQueue) -> None:
        await admit(queue, demand=one_more_stream("a"), idempotency=KEY)
        await try_to_admit(queue, make_job(), demand=one_more_stream("b"), idempotency=KEY)

        new = await try_to_admit(queue, make_job(), demand=one_more_stream("c"))
        attached = await try_to_admit(queue, make_job(), demand=one_more_stream("c"), idempotency=KEY)

        assert new == attached == ConcurrencyReached(index=1, service_ms=0)

    async def test_is_refused_without_spending(self, queue: JobQueue, redis: Redis) -> None:
        for id_ in "ab":
            await admit(queue, demand=one_more_stream(id_))
        demand = Demand(tokens=(tokens(5),), streams=(STREAMS,), stream_id="c")

        assert isinstance(await try_to_admit(queue, make_job(), demand=demand), ConcurrencyReached)

        assert await spent(redis, tokens(5)) == 0
        assert await redis.zrange(STREAMS.key, 0, -1) == [b"a", b"b"]

    async def test_one_that_is_not_renewed_is_closed(self, queue: JobQueue, redis: Redis) -> None:
        """Its gateway is dead."""
        for id_ in "ab":
            await admit(queue, demand=one_more_stream(id_))
        assert 0 < await redis.pttl(STREAMS.key) <= STREAM_LEASE_MS
        await redis.zadd(STREAMS.key, {"a": 1})

        await admit(queue, demand=one_more_stream("c"))

        assert await redis.zrange(STREAMS.key, 0, -1) == [b"b", b"c"]

    async def test_that_of_a_job_that_could_not_be_stored_is_closed(self, queue: JobQueue, redis: Redis) -> None:
        del queue
        durable = DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)
        job, demand = make_job(is_durable=True), one_more_stream("a")
        await durable.reserve(job, demand=demand, max_depth=9, idempotency=None)

        await durable.abandon(job, demand=demand, idempotency=None)

        assert not await redis.exists(STREAMS.key)

    async def test_a_whole_answer_opens_none(self, queue: JobQueue, redis: Redis) -> None:
        await admit(queue, demand=ONE_MORE_JOB)

        assert not await redis.exists(STREAMS.key)
