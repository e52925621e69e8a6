"""Admission: refused without a trace, or enqueued in fair order."""

from collections import Counter

import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.demand import Limit
from shared.job_queue import JobQueue
from shared.jobs import Job, JobStatus, decode_job
from shared.verdicts import Admitted, LimitReached, Place, QueueFull
from tests.jobs import CHANNEL, MODEL, RETENTION_MS, admit, make_job, state_of, try_to_admit
from tests.listening import listening

WIDE = Limit(scope="user", name="alice", per_minute=600, burst=10)
TIGHT = Limit(scope="address", name="192.0.2.1", per_minute=60, burst=1)


async def claimed_order(queue: JobQueue, jobs: int) -> list[Job]:
    """Claim one at a time, as a worker with one slot does, and return the jobs as they came."""
    order: list[Job] = []
    for _ in range(jobs):
        (claim,) = await queue.claim("worker", {MODEL: 1}, limit=1)
        order.append(claim.job)
    return order


async def dump(redis: Redis) -> dict[bytes, bytes | None]:
    """Return everything that is in Redis."""
    return {key: await redis.dump(key) for key in await redis.keys()}


class TestAnAdmittedJob:
    async def test_is_told_its_place_and_what_remains_of_its_limits(self, queue: JobQueue) -> None:
        first = await try_to_admit(queue, make_job(), limits=[WIDE, TIGHT])
        second = await try_to_admit(queue, make_job(), limits=[WIDE])

        assert isinstance(first, Admitted)
        assert isinstance(second, Admitted)
        assert first.place == Place(position=1, service_ms=0)
        assert second.place == Place(position=2, service_ms=0)
        assert [remaining for remaining, _ in first.limits] == [9, 0]
        (remaining, whole_again_us), *_ = second.limits
        assert remaining == 8
        assert 100_000 < whole_again_us <= 200_000  # two at 600 per minute

    async def test_is_kept_whole_with_its_state(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue, make_job(request=b'{"messages": [{"content": "\xc2\x85"}]}'), queue_timeout_ms=5_000)

        state = await state_of(redis, job)
        payload = await redis.get(redis_keys.PAYLOAD + job.id)
        deadline_ms = await redis.zscore(redis_keys.DEADLINES, job.id)

        assert payload is not None
        assert decode_job(payload) == job
        assert state["status"] == JobStatus.QUEUED
        assert (state["user"], state["model"]) == ("alice", MODEL)
        assert (state["channel"], state["request_id"]) == (CHANNEL, "request-of-alice")
        assert deadline_ms == int(state["admitted_ms"]) + 5_000

    async def test_outlives_three_attempts_and_the_retention(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue, make_job(timeout_ms=7_000), queue_timeout_ms=5_000)

        for key in (redis_keys.JOB + job.id, redis_keys.PAYLOAD + job.id):
            assert 3 * (5_000 + 7_000) < await redis.pttl(key) <= 3 * (5_000 + 7_000) + RETENTION_MS

    @pytest.mark.parametrize(("unattended_ms", "is_watched"), [(0, False), (1_000, True)])
    async def test_is_watched_for_its_readers_if_it_needs_any(
        self, queue: JobQueue, redis: Redis, *, unattended_ms: int, is_watched: bool
    ) -> None:
        job = await admit(queue, unattended_ms=unattended_ms)

        assert (await redis.zscore(redis_keys.ATTENDED, job.id) is not None) == is_watched

    async def test_wakes_the_workers_of_its_model(self, queue: JobQueue, redis: Redis) -> None:
        async with listening(redis, redis_keys.wake_channel(MODEL)) as hear:
            job = await admit(queue)
            assert await hear() == job.id.encode()


class TestARefusal:
    async def test_by_a_limit_spends_nothing_and_names_the_limit_and_the_wait(
        self, queue: JobQueue, redis: Redis
    ) -> None:
        await admit(queue, limits=[TIGHT])
        before = await dump(redis)

        refused = await try_to_admit(queue, make_job(), limits=[WIDE, TIGHT])

        assert isinstance(refused, LimitReached)
        assert refused.index == 2
        assert 0 < refused.retry_after_us <= 1_000_000  # one at 60 per minute
        assert [remaining for remaining, _ in refused.limits] == [10, 0]
        assert await dump(redis) == before

    async def test_by_a_full_queue_spends_nothing(self, queue: JobQueue, redis: Redis) -> None:
        for _ in range(2):
            await admit(queue, limits=[WIDE], max_depth=2)
        before = await dump(redis)

        refused = await try_to_admit(queue, make_job(), limits=[WIDE], max_depth=2)

        assert isinstance(refused, QueueFull)
        assert (refused.depth, refused.service_ms) == (2, 0)
        assert [remaining for remaining, _ in refused.limits] == [8]
        assert await dump(redis) == before

    async def test_by_both_is_told_as_the_limit(self, queue: JobQueue) -> None:
        """The limit is the caller's own doing; and what a full queue costs to find out is limited too."""
        await admit(queue, limits=[TIGHT], max_depth=1)

        assert isinstance(await try_to_admit(queue, make_job(), limits=[TIGHT], max_depth=1), LimitReached)

    async def test_by_a_full_queue_counts_what_waits_for_that_model_alone(self, queue: JobQueue) -> None:
        await admit(queue, make_job(model="other:latest"), max_depth=1)
        running = await admit(queue, max_depth=1)
        await queue.claim("worker", {MODEL: 1}, limit=1)

        assert isinstance(await try_to_admit(queue, make_job(), max_depth=1), Admitted)
        assert isinstance(await try_to_admit(queue, make_job(), max_depth=1), QueueFull)
        assert await queue.places([(MODEL, running.id)]) == [None]


class TestFairOrder:
    async def test_users_take_turns_however_many_jobs_one_of_them_has(self, queue: JobQueue) -> None:
        """200 jobs of one user, then 20 each of two others: the others wait for one job of the first per turn."""
        greedy = [await admit(queue, make_job(user="greedy")) for _ in range(200)]
        for _ in range(20):
            await admit(queue, make_job(user="bob"))
            await admit(queue, make_job(user="carol"))

        order = await claimed_order(queue, 240)

        turns = [job.user_id for job in order[:60]]
        assert all(set(turns[i : i + 3]) == {"greedy", "bob", "carol"} for i in range(0, 60, 3))
        assert {job.user_id for job in order[60:]} == {"greedy"}
        assert [job for job in order if job.user_id == "greedy"] == greedy

    async def test_nobody_saves_up_turns_by_staying_away(self, queue: JobQueue) -> None:
        for _ in range(50):
            await admit(queue, make_job(user="regular"))
        await claimed_order(queue, 40)

        for _ in range(10):
            await admit(queue, make_job(user="newcomer"))

        assert Counter(job.user_id for job in await claimed_order(queue, 20)) == {"regular": 10, "newcomer": 10}

    async def test_jobs_of_one_user_keep_their_order(self, queue: JobQueue) -> None:
        jobs = [await admit(queue) for _ in range(30)]

        assert await claimed_order(queue, 30) == jobs

    async def test_a_place_is_a_rank_in_that_order(self, queue: JobQueue) -> None:
        for _ in range(10):
            await admit(queue, make_job(user="greedy"))

        verdict = await try_to_admit(queue, make_job(user="bob"))

        assert isinstance(verdict, Admitted)
        assert verdict.place.position == 2

    async def test_models_do_not_wait_for_each_other(self, queue: JobQueue) -> None:
        for _ in range(10):
            await admit(queue)

        verdict = await try_to_admit(queue, make_job(model="other:latest"))

        assert isinstance(verdict, Admitted)
        assert verdict.place.position == 1

    async def test_users_that_have_caught_up_are_forgotten(self, queue: JobQueue, redis: Redis) -> None:
        """The memory of who was served when is as long as the queue, not as the list of all users."""
        for number in range(100):
            await admit(queue, make_job(user=f"user-{number}"))
        for _ in range(2):
            await admit(queue, make_job(user="last"))
        await claimed_order(queue, 102)

        assert await redis.zrange(redis_keys.FAIR + MODEL, 0, -1) == [b"last"]
