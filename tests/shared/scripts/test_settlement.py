"""Tokens are reserved by an estimate when a job is admitted, and paid for as they were used when it ends, once."""

import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.demand import Demand
from shared.durable_queue import DurableQueue
from shared.ended_jobs import EndedJobs
from shared.errors import JobCancelledError, JobExpiredError
from shared.events import EventKind
from shared.idempotency import Idempotency
from shared.job_queue import Claim, Consumption, JobQueue
from shared.jobs import Job, JobEnd, JobStatus
from shared.restoration import Restoration
from shared.verdicts import Admitted, Attached, LimitReached
from tests.jobs import CHANNEL, RETENTION_MS, admit, append, claim_next, finish, make_job, try_to_admit
from tests.limits import reserving, spent, tokens

BUDGET = tokens(1)
DAY_MS = 86_400_000
KEY = Idempotency.of("key", surface="/v1", user_id="alice", request=b"1")
STARTED = (EventKind.STARTED, b"{}")
PIECE = (EventKind.CHUNK, b'{"content":"x"}')
DONE = (
    EventKind.DONE,
    (
        b'{"tool_calls":[{"usage":{"prompt_tokens":1,"completion_tokens":1}}],'
        b'"content":"\\"usage\\":{\\"prompt_tokens\\":2,","usage":{"prompt_tokens":30,"completion_tokens":12},"job_id":"-"}'
    ),
)


def used(count: int) -> Consumption:
    return Consumption(count, answered=0)


async def cancel(queue: JobQueue, job: Job) -> None:
    await queue.stop(job.id, error=JobCancelledError("Stopped."), status=JobStatus.CANCELLED)


class TestAnAdmittedJob:
    async def test_reserves_its_estimate_of_every_budget(self, queue: JobQueue, redis: Redis) -> None:
        of_key = tokens(100, scope="key", name="k")

        verdict = await try_to_admit(queue, make_job(), demand=Demand(tokens=(tokens(100), of_key)))

        assert isinstance(verdict, Admitted)
        assert [remaining for remaining, _ in verdict.limits] == [900, 900]
        assert [await spent(redis, limit) for limit in (BUDGET, of_key)] == [100, 100]

    async def test_is_refused_when_one_budget_lacks_it_and_then_nothing_is_spent(
        self, queue: JobQueue, redis: Redis
    ) -> None:
        await admit(queue, demand=reserving(901))
        narrow = tokens(100, scope="key", name="k")

        refused = await try_to_admit(queue, make_job(), demand=Demand(tokens=(narrow, tokens(100))))

        assert isinstance(refused, LimitReached)
        assert refused.index == 2
        assert (await spent(redis, BUDGET), await spent(redis, narrow)) == (901, 0)

    async def test_that_is_attached_to_another_one_costs_no_tokens(self, queue: JobQueue, redis: Redis) -> None:
        await admit(queue, demand=reserving(900), idempotency=KEY)

        for _ in range(2):
            again = await try_to_admit(queue, make_job(), demand=reserving(900), idempotency=KEY)
            assert isinstance(again, Attached)

        assert await spent(redis, BUDGET) == 900


class TestAFinishedJob:
    @pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1000, 2500])
    async def test_has_paid_exactly_what_it_used(self, queue: JobQueue, redis: Redis, count: int) -> None:
        """Less than was reserved comes back; more is a debt, also beyond the whole bucket."""
        of_key = tokens(100, scope="key", name="k")
        await admit(queue, demand=Demand(tokens=(tokens(100), of_key)))

        await finish(redis, queue, await claim_next(queue), consumption=used(count))

        assert [await spent(redis, limit) for limit in (BUDGET, of_key)] == [count, count]

    async def test_with_a_debt_is_waited_off_before_the_next(self, queue: JobQueue, redis: Redis) -> None:
        await admit(queue, demand=reserving(100))
        await finish(redis, queue, await claim_next(queue), consumption=used(1500))

        refused = await try_to_admit(queue, make_job(), demand=reserving(1))

        assert isinstance(refused, LimitReached)
        assert round(refused.retry_after_us / 60_000_000) == 501
        assert [remaining for remaining, _ in refused.limits] == [0]

    async def test_that_is_finished_twice_has_paid_once(self, queue: JobQueue, redis: Redis) -> None:
        """The answer to the first time may have been lost."""
        await admit(queue, demand=reserving(100))
        claim = await claim_next(queue)
        for _ in range(2):
            assert await finish(redis, queue, claim, consumption=used(40))

        assert await spent(redis, BUDGET) == 40

    async def test_that_another_worker_has_pays_nothing_to_the_old_one(self, queue: JobQueue, redis: Redis) -> None:
        await admit(queue, demand=reserving(100))
        first = await claim_next(queue)
        await queue.requeue(first, failed=False)
        second = await claim_next(queue, worker="other")

        assert not await finish(redis, queue, first, consumption=used(7))
        assert await spent(redis, BUDGET) == 100
        assert await finish(redis, queue, second, consumption=used(8))
        assert await spent(redis, BUDGET) == 8

    async def test_whose_reservation_has_been_waited_off_gets_no_more_than_all_back(
        self, queue: JobQueue, redis: Redis
    ) -> None:
        await admit(queue, demand=reserving(100))
        await redis.delete(BUDGET.key)

        await finish(redis, queue, await claim_next(queue), consumption=used(0))

        assert await redis.get(BUDGET.key) is None


class TestAJobThatDidNotComplete:
    @pytest.mark.parametrize(
        ("answered", "count"),
        [pytest.param(0, 0, id="before it answered"), pytest.param(5, 25, id="after five pieces of an answer")],
    )
    async def test_pays_for_its_prompt_and_what_it_answered_if_it_did(
        self, queue: JobQueue, redis: Redis, answered: int, count: int
    ) -> None:
        await admit(queue, demand=reserving(100, prompt=20))

        consumption = Consumption("", answered=answered)
        await finish(redis, queue, await claim_next(queue), JobStatus.FAILED, consumption=consumption)

        assert await spent(redis, BUDGET) == count

    async def test_and_never_ran_pays_nothing(self, queue: JobQueue, redis: Redis) -> None:
        cancelled = await admit(queue, demand=reserving(100, prompt=20))
        expired = await admit(queue, demand=reserving(100, prompt=20))

        await cancel(queue, cancelled)
        await queue.stop(expired.id, error=JobExpiredError("Too late."), status=JobStatus.EXPIRED)

        assert await spent(redis, BUDGET) == 0

    async def test_because_nobody_took_it_after_an_attempt_pays_for_that(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue, demand=reserving(100, prompt=20))
        claim = await claim_next(queue)
        await append(redis, claim, STARTED, PIECE, PIECE)
        await queue.requeue(claim, failed=True)
        assert await spent(redis, BUDGET) == 100  # a job that is put back keeps its reservation

        for _ in range(2):
            await cancel(queue, job)

        assert await spent(redis, BUDGET) == 22

    async def test_as_far_as_its_lost_worker_could_say_pays_what_its_log_has(
        self, queue: JobQueue, redis: Redis
    ) -> None:
        """The terminal event is there and nothing more; what else looks like a usage in it is the model's."""
        job = await admit(queue, demand=reserving(100))
        claim = await claim_next(queue)
        await append(redis, claim, STARTED, PIECE, DONE)
        await redis.zadd(redis_keys.RUNNING + job.model, {job.id: 1})

        await cancel(queue, job)

        assert await spent(redis, BUDGET) == 42


class TestRedisForgets:
    async def test_a_job_that_its_worker_puts_back_pays_all_at_its_end(self, queue: JobQueue, redis: Redis) -> None:
        """What was reserved is gone with the bucket."""
        await admit(queue, demand=reserving(100))
        claim = await claim_next(queue)
        await redis.flushall()
        await restore(redis, claim)
        await admit(queue, demand=reserving(1))

        await finish(redis, queue, claim, consumption=used(60))

        assert await spent(redis, BUDGET) == 61

    async def test_a_job_that_was_there_keeps_its_reservation(self, queue: JobQueue, redis: Redis) -> None:
        await admit(queue, demand=reserving(100))
        claim = await claim_next(queue)
        await redis.delete(redis_keys.LOG + claim.job.id)
        await restore(redis, claim)

        await finish(redis, queue, claim, consumption=used(60))

        assert await spent(redis, BUDGET) == 60

    async def test_a_job_that_its_gateway_submits_again_spends_nothing_then_and_all_at_its_end(
        self, queue: JobQueue, redis: Redis
    ) -> None:
        job = await admit(queue, demand=reserving(100))
        for _ in range(2):  # the first time it is there
            await try_to_admit(queue, job, demand=reserving(100), waited_ms=5)
            assert await spent(redis, BUDGET) == 100
        await redis.flushall()

        await try_to_admit(queue, job, demand=reserving(100), waited_ms=5)

        assert await spent(redis, BUDGET) == 0
        await finish(redis, queue, await claim_next(queue), consumption=used(60))
        assert await spent(redis, BUDGET) == 60

    async def test_nobody_is_refused_a_second_time(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue, demand=reserving(100))
        await redis.flushall()
        await admit(queue, demand=reserving(1000))

        again = await try_to_admit(queue, job, demand=reserving(100), waited_ms=5)

        assert isinstance(again, Admitted)


class TestADurableJob:
    @pytest.fixture
    def durable(self, queue: JobQueue, redis: Redis) -> DurableQueue:
        del queue  # it sees to it that all keys expire
        return DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=DAY_MS)

    async def test_that_cannot_be_stored_gets_everything_back(self, durable: DurableQueue, redis: Redis) -> None:
        job = make_job(is_durable=True)
        await durable.reserve(job, demand=reserving(100), max_depth=9, idempotency=None)
        assert await spent(redis, BUDGET) == 100

        for _ in range(2):
            await durable.abandon(job, demand=reserving(100), idempotency=None)

        assert await spent(redis, BUDGET) == 0

    async def test_pays_when_its_worker_leaves_it_and_not_again(
        self, durable: DurableQueue, queue: JobQueue, redis: Redis
    ) -> None:
        claim = await self.claimed(durable, queue)

        for _ in range(2):
            await leave(redis, queue, claim, used(60))
            assert await spent(redis, BUDGET) == 60
        ended = EndedJobs(redis)
        ((job_id, end),) = (await ended.take(9)).items()
        await ended.publish(job_id, end)

        assert await spent(redis, BUDGET) == 60

    async def test_that_is_stopped_while_it_waits_pays_nothing(
        self, durable: DurableQueue, queue: JobQueue, redis: Redis
    ) -> None:
        job = make_job(is_durable=True)
        await self.accept(durable, job)

        for _ in range(2):
            await cancel(queue, job)

        assert await spent(redis, BUDGET) == 0
        await redis.delete(redis_keys.ENDS, redis_keys.UNSTORED)

    async def test_that_postgresql_brings_back_costs_what_was_reserved(
        self, durable: DurableQueue, queue: JobQueue, redis: Redis
    ) -> None:
        """Its gateway died before it could enqueue it, and nobody else knows what the reservation was."""
        job = make_job(is_durable=True)
        await durable.reserve(job, demand=reserving(100), max_depth=9, idempotency=None)
        await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=5_000, idempotency=None, is_again=True)

        await leave(redis, queue, await claim_next(queue), used(60))

        assert await spent(redis, BUDGET) == 100
        await redis.delete(redis_keys.ENDS, redis_keys.UNSTORED)

    async def accept(self, durable: DurableQueue, job: Job) -> None:
        demand = reserving(100)
        await durable.reserve(job, demand=demand, max_depth=9, idempotency=None)
        await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=5_000, idempotency=None, demand=demand)

    async def claimed(self, durable: DurableQueue, queue: JobQueue) -> Claim:
        await self.accept(durable, make_job(is_durable=True))
        return await claim_next(queue)


async def restore(redis: Redis, claim: Claim) -> None:
    assert await redis.execute_command(*Restoration().command(claim, []))


async def leave(redis: Redis, queue: JobQueue, claim: Claim, consumption: Consumption) -> None:
    job = claim.job
    end = JobEnd(
        user_id=job.user_id,
        kind=job.kind,
        model=job.model,
        status=JobStatus.COMPLETED,
        request_id=job.request_id,
        queue_ms=0,
        total_ms=0,
        attempts=1,
        epoch=claim.epoch,
        is_durable=True,
        terminal="d{}",
    )
    call = queue.leave_call(claim, end, entries=0, service_ms=0, consumption=consumption)
    assert await redis.execute_command(*call.whole)
