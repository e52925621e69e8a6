"""A key makes the requests that are sent with it one job, for as long as it is kept."""

import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.demand import Limit
from shared.errors import JobCancelledError
from shared.events import EventKind
from shared.idempotency import KEPT_MS, Idempotency
from shared.job_queue import JobQueue, Stopped
from shared.jobs import Job, JobStatus
from shared.verdicts import Admitted, Attached, KeyMismatched, LimitReached, QueueFull
from tests.jobs import CHANNEL, MODEL, RETENTION_MS, admit, append, claim_next, finish, make_job, try_to_admit
from tests.waiting import wait_until

LIMIT = Limit(scope="user", name="alice", per_minute=1, burst=2)
GONE = JobCancelledError("Its reader has gone.")


def known_by(key: str = "key", *, user: str = "alice", surface: str = "/v1", request: bytes = b"{}") -> Idempotency:
    return Idempotency.of(key, surface=surface, user_id=user, request=request)


async def left_by_its_readers(queue: JobQueue, job: Job) -> Stopped | None:
    return await queue.stop(job.id, error=GONE, status=JobStatus.CANCELLED, only_if_unattended=True)


async def is_unattended(queue: JobQueue, job_id: str) -> bool:
    return job_id in await queue.unattended()


class TestTheSameRequestAgain:
    async def test_is_attached_and_enqueues_nothing(self, queue: JobQueue) -> None:
        job = await admit(queue, idempotency=known_by())

        for _ in range(2):
            assert await try_to_admit(queue, make_job(), idempotency=known_by()) == Attached(job_id=job.id, limits=())

        assert [claim.job for claim in await queue.claim("worker", {MODEL: 9}, limit=9)] == [job]

    async def test_is_attached_when_the_job_has_ended_for_as_long_as_the_key_is_kept(
        self, queue: JobQueue, redis: Redis
    ) -> None:
        job = await admit(queue, idempotency=known_by())
        claim = await claim_next(queue)
        await append(redis, claim, (EventKind.DONE, b"{}"))
        await finish(redis, queue, claim)

        assert isinstance(await try_to_admit(queue, make_job(), idempotency=known_by()), Attached)
        stays_ms = [await redis.pttl(key) for key in (redis_keys.JOB + job.id, redis_keys.LOG + job.id)]
        kept_ms = await redis.pttl(known_by().key)  # read last: time passes
        assert RETENTION_MS < kept_ms <= KEPT_MS
        assert min(stays_ms) >= kept_ms

    async def test_is_attached_also_when_the_queue_is_full(self, queue: JobQueue) -> None:
        await admit(queue, idempotency=known_by(), max_depth=1)

        assert isinstance(await try_to_admit(queue, make_job(), idempotency=known_by(), max_depth=1), Attached)

    async def test_costs_a_request_and_is_refused_when_there_is_none_left(self, queue: JobQueue) -> None:
        await admit(queue, idempotency=known_by(), limits=[LIMIT])

        attached = await try_to_admit(queue, make_job(), idempotency=known_by(), limits=[LIMIT])
        refused = await try_to_admit(queue, make_job(), idempotency=known_by(), limits=[LIMIT])

        assert isinstance(attached, Attached)
        assert [remaining for remaining, _ in attached.limits] == [0]
        assert isinstance(refused, LimitReached)

    async def test_attends_to_the_job_that_it_reads(self, queue: JobQueue, redis: Redis) -> None:
        """The job is not cancelled while the reader is on its way from the gate to the log."""
        job = await admit(queue, idempotency=known_by(), unattended_ms=60_000)
        await queue.attend([job.id], gateway=CHANNEL, for_ms=0, grace_ms=0)
        assert await queue.unattended() == [job.id]

        again = make_job()
        await try_to_admit(queue, again, idempotency=known_by(), unattended_ms=60_000, channel="elsewhere")

        assert await queue.unattended() == []
        assert await redis.zrange(redis_keys.READERS + job.id, 0, -1) == [b"elsewhere"]

    async def test_does_not_make_a_job_need_readers_that_runs_without(self, queue: JobQueue, redis: Redis) -> None:
        await admit(queue, idempotency=known_by())

        await try_to_admit(queue, make_job(), idempotency=known_by(), unattended_ms=60_000)

        assert not await redis.exists(redis_keys.ATTENDED)

    async def test_that_wants_it_to_run_on_frees_the_job_from_needing_readers(
        self, queue: JobQueue, redis: Redis
    ) -> None:
        await admit(queue, idempotency=known_by(), unattended_ms=60_000)

        await try_to_admit(queue, make_job(), idempotency=known_by(), unattended_ms=0)

        assert not await redis.exists(redis_keys.ATTENDED)


class TestAnotherRequest:
    async def test_with_the_key_is_refused_and_costs_nothing(self, queue: JobQueue, redis: Redis) -> None:
        await admit(queue, idempotency=known_by(), limits=[LIMIT])
        before = {key: await redis.dump(key) for key in await redis.keys()}

        other = known_by(request=b'{"other": true}')

        assert await try_to_admit(queue, make_job(), idempotency=other, limits=[LIMIT]) == KeyMismatched()
        assert {key: await redis.dump(key) for key in await redis.keys()} == before

    @pytest.mark.parametrize(
        "other",
        [known_by("another key"), known_by(user="bob"), known_by(surface="/openai")],
        ids=["key", "user", "surface"],
    )
    async def test_that_differs_in_what_a_key_belongs_to_is_a_job_of_its_own(
        self, queue: JobQueue, other: Idempotency
    ) -> None:
        await admit(queue, idempotency=known_by())

        assert isinstance(await try_to_admit(queue, make_job(), idempotency=other), Admitted)

    async def test_does_not_find_the_clients_key_in_redis(self, queue: JobQueue, redis: Redis) -> None:
        await admit(queue, idempotency=known_by("my secret"))

        assert not any(b"secret" in key for key in await redis.keys())


class TestTheKeyIsFree:
    async def test_after_a_refusal(self, queue: JobQueue) -> None:
        await admit(queue, limits=[LIMIT], max_depth=1)
        full = await try_to_admit(queue, make_job(), idempotency=known_by(), max_depth=1)
        assert isinstance(full, QueueFull)

        assert isinstance(await try_to_admit(queue, make_job(), idempotency=known_by()), Admitted)

    @pytest.mark.parametrize("runs", [False, True], ids=["while it waited", "while it ran"])
    async def test_when_the_readers_of_its_job_have_gone(self, queue: JobQueue, *, runs: bool) -> None:
        job = await admit(queue, idempotency=known_by(), unattended_ms=1)
        if runs:
            await claim_next(queue)
        await wait_until(queue.unattended, description="the job is unattended")

        await left_by_its_readers(queue, job)

        assert isinstance(await try_to_admit(queue, make_job(), idempotency=known_by()), Admitted)

    async def test_and_its_job_stays_no_longer_than_one_without_a_key(self, queue: JobQueue, redis: Redis) -> None:
        waiting = await admit(queue, idempotency=known_by(), unattended_ms=1)
        running = await admit(queue, make_job(model="other:latest"), idempotency=known_by("other"), unattended_ms=1)
        claim = await claim_next(queue, model="other:latest")
        for job in (waiting, running):
            await wait_until(lambda id_=job.id: is_unattended(queue, id_), description="the job is unattended")
            await left_by_its_readers(queue, job)
        await append(redis, claim, (EventKind.ERROR, b"{}"))
        await finish(redis, queue, claim, JobStatus.CANCELLED)

        for job in (waiting, running):
            assert await redis.pttl(redis_keys.JOB + job.id) <= RETENTION_MS
            assert await redis.pttl(redis_keys.LOG + job.id) <= RETENTION_MS

    async def test_when_redis_has_lost_its_job(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue, idempotency=known_by())
        await redis.delete(redis_keys.JOB + job.id)

        assert isinstance(await try_to_admit(queue, make_job(), idempotency=known_by()), Admitted)

    @pytest.mark.parametrize("value", [b"", b"\xff", b"01890000-0000-7000-8000-000000000000 ", b" f", b"a b c"])
    async def test_when_what_it_holds_is_malformed(self, queue: JobQueue, redis: Redis, value: bytes) -> None:
        await redis.set(known_by().key, value, px=KEPT_MS)
        job = await admit(queue, idempotency=known_by())

        assert await try_to_admit(queue, make_job(), idempotency=known_by()) == Attached(job_id=job.id, limits=())


class TestTheKeyStaysTaken:
    async def test_when_somebody_cancels_its_job(self, queue: JobQueue) -> None:
        """That is an end like any other, and is told to whoever comes back."""
        job = await admit(queue, idempotency=known_by())

        await queue.stop(job.id, error=JobCancelledError(""), status=JobStatus.CANCELLED)

        assert isinstance(await try_to_admit(queue, make_job(), idempotency=known_by()), Attached)

    async def test_when_a_reader_has_come_after_all(self, queue: JobQueue) -> None:
        """Between the sweeper's look at what is due and its stopping it."""
        job = await admit(queue, idempotency=known_by(), unattended_ms=60_000)

        assert await left_by_its_readers(queue, job) == Stopped(model=MODEL, status=JobStatus.QUEUED)

        assert (await claim_next(queue)).job == job
        assert isinstance(await try_to_admit(queue, make_job(), idempotency=known_by()), Attached)

    async def test_when_the_job_of_an_earlier_holder_is_given_up(self, queue: JobQueue, redis: Redis) -> None:
        earlier = await admit(queue, idempotency=known_by(), unattended_ms=1)
        await redis.delete(known_by().key)  # as its expiry would
        later = await admit(queue, idempotency=known_by())
        await wait_until(queue.unattended, description="the earlier job is unattended")

        await left_by_its_readers(queue, earlier)

        again = await try_to_admit(queue, make_job(), idempotency=known_by())
        assert again == Attached(job_id=later.id, limits=())
