"""Stopping a job: whoever asks, from wherever, its stream ends once, with the reason that was given first."""

import msgspec
import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.errors import JobCancelledError, JobError, JobExpiredError
from shared.events import ErrorBody, Event, EventKind
from shared.ids import new_id
from shared.job_queue import JobQueue, Stopped
from shared.jobs import TERMINAL, Job, JobStatus
from shared.token_log import FencedError, unpack
from tests.jobs import CHANNEL, MODEL, RETENTION_MS, admit, append, claim_next, finish, log_of, make_job, state_of
from tests.listening import listening
from tests.waiting import wait_until

CANCELLED = JobCancelledError("The job was cancelled.")
STARTED = (EventKind.STARTED, b"{}")
CHUNK = (EventKind.CHUNK, b"{}")
DONE = (EventKind.DONE, b"{}")


@pytest.fixture
def short_lease(queue: JobQueue, redis: Redis) -> JobQueue:
    """A queue whose leases end at once when nobody renews them."""
    del queue  # it sees to it that all keys expire
    return JobQueue(redis, lease_ms=20)


async def cancel(queue: JobQueue, job: Job, *, user_id: str = "") -> Stopped | None:
    return await queue.stop(job.id, error=CANCELLED, status=JobStatus.CANCELLED, user_id=user_id)


async def expire(queue: JobQueue, job: Job) -> Stopped | None:
    return await queue.stop(job.id, error=JobExpiredError("Too late."), status=JobStatus.EXPIRED)


async def until_ended(queue: JobQueue, job: Job) -> Stopped:
    """Cancel until the answer is more than a promise: the lease of its lost worker has ended."""

    async def outcome() -> Stopped | None:
        stopped = await cancel(queue, job)
        return stopped if stopped and stopped.status != "stopping" else None

    outcome_or_none = await wait_until(outcome, description="the job has ended")
    assert outcome_or_none is not None
    return outcome_or_none


def error_in(event: Event) -> str:
    assert event.kind == EventKind.ERROR.value
    return msgspec.json.decode(event.payload, type=ErrorBody).error.code


class TestAJobThatWaits:
    async def test_ends_with_an_event_that_readers_hear_and_find_in_the_log(
        self, queue: JobQueue, redis: Redis
    ) -> None:
        job = await admit(queue, unattended_ms=60_000)
        async with listening(redis, CHANNEL) as hear:
            assert await cancel(queue, job) == Stopped(model=MODEL, status=JobStatus.CANCELLED)
            (batch,) = unpack(await hear())
        (event,) = batch.split()
        assert event.seq == 1
        assert batch.job_id == job.id
        assert await log_of(redis, job) == [event]
        told = msgspec.json.decode(event.payload, type=ErrorBody).error
        assert (told.code, told.message, told.request_id) == ("cancelled", CANCELLED.message, job.request_id)

    async def test_leaves_the_queue_and_every_list(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue, unattended_ms=60_000)

        await cancel(queue, job)

        assert await queue.claim("worker", {MODEL: 1}, limit=1) == []
        left = {key.decode() for key in await redis.keys()}
        shown = {redis_keys.JOB + job.id, redis_keys.LOG + job.id, redis_keys.JOBS + job.user_id}
        assert left == {*shown, redis_keys.FAIR + MODEL, redis_keys.UNSTORED, redis_keys.ENDS}
        assert 0 < await redis.pttl(redis_keys.JOB + job.id) <= RETENTION_MS
        assert 0 < await redis.pttl(redis_keys.LOG + job.id) <= RETENTION_MS

    async def test_ends_as_its_caller_says(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue)

        assert await expire(queue, job) == Stopped(model=MODEL, status=JobStatus.EXPIRED)
        assert [error_in(event) for event in await log_of(redis, job)] == ["expired"]

    async def test_for_its_next_attempt_ends_after_the_events_of_the_last_one(
        self, queue: JobQueue, redis: Redis
    ) -> None:
        job = await admit(queue)
        claim = await claim_next(queue)
        await append(redis, claim, STARTED)
        await queue.requeue(claim, delay_ms=60_000, failed=True)

        await cancel(queue, job)

        events = await log_of(redis, job)
        assert [(event.seq, event.kind) for event in events] == [
            (1, EventKind.STARTED.value),
            (2, EventKind.ERROR.value),
        ]
        assert await redis.exists(redis_keys.DELAYED + MODEL) == 0

    async def test_that_was_claimed_and_put_back_ends_at_the_next_seq(self, queue: JobQueue, redis: Redis) -> None:
        """The newest entry of its log is then a claim, which holds no event."""
        job = await admit(queue)
        first = await claim_next(queue)
        await append(redis, first, STARTED, CHUNK)
        await queue.requeue(first, failed=False)
        await queue.requeue(await claim_next(queue), failed=False)

        await cancel(queue, job)

        assert [event.seq for event in await log_of(redis, job)] == [1, 2, 3]

    async def test_of_another_user_is_not_there(self, queue: JobQueue, redis: Redis) -> None:
        job = await admit(queue, make_job(user="alice"))

        assert await cancel(queue, job, user_id="mallory") is None
        assert (await state_of(redis, job))["status"] == JobStatus.QUEUED

        assert await cancel(queue, job, user_id="alice") == Stopped(model=MODEL, status=JobStatus.CANCELLED)


class TestAJobThatRuns:
    async def test_is_ended_by_its_worker(self, queue: JobQueue, redis: Redis) -> None:
        """The worker is told at once, and by its heartbeat if it does not hear."""
        job = await admit(queue)
        claim = await claim_next(queue, worker="w1")
        async with listening(redis, redis_keys.control_channel("w1")) as hear:
            assert await cancel(queue, job) == Stopped(model=MODEL, status="stopping")
            assert await hear() == f"cancelled {job.id}".encode()
        assert await log_of(redis, job) == []
        for _ in range(2):
            assert (await queue.heartbeat("w1", [(claim, 0)])).answers == ["stop:cancelled"]

    async def test_ends_here_when_its_worker_is_lost(self, short_lease: JobQueue, redis: Redis) -> None:
        job = await admit(short_lease)
        await append(redis, await claim_next(short_lease), STARTED, CHUNK)

        assert await until_ended(short_lease, job) == Stopped(model=MODEL, status=JobStatus.CANCELLED)

        assert [event.kind for event in await log_of(redis, job)] == [b"s", b"c", b"e"]
        assert await short_lease.claim("other", {MODEL: 1}, limit=1) == []

    async def test_and_ended_here_is_out_of_its_lost_workers_reach(self, short_lease: JobQueue, redis: Redis) -> None:
        job = await admit(short_lease)
        claim = await claim_next(short_lease)
        await until_ended(short_lease, job)

        with pytest.raises(FencedError):
            await append(redis, claim, CHUNK)
        assert not await finish(redis, short_lease, claim)
        assert (await short_lease.heartbeat("worker", [(claim, 0)])).answers == ["taken"]
        assert (await state_of(redis, job))["status"] == JobStatus.CANCELLED

    @pytest.mark.parametrize(
        ("end", "status"),
        [(DONE, JobStatus.COMPLETED), ((EventKind.ERROR, b"{}"), JobStatus.FAILED)],
        ids=["its whole answer", "an error"],
    )
    async def test_and_whose_log_has_its_end_gets_no_second_one(
        self, short_lease: JobQueue, redis: Redis, end: tuple[EventKind, bytes], status: JobStatus
    ) -> None:
        """Its worker wrote the end and was lost before it could finish the job."""
        job = await admit(short_lease)
        await append(redis, await claim_next(short_lease), STARTED, CHUNK, end)

        assert await until_ended(short_lease, job) == Stopped(model=MODEL, status=status)

        assert [event.kind for event in await log_of(redis, job)] == [b"s", b"c", end[0].value]
        assert 0 < await redis.pttl(redis_keys.LOG + job.id) <= RETENTION_MS


class TestAJobThatHasEnded:
    @pytest.mark.parametrize("status", sorted(TERMINAL))
    async def test_stays_as_it_is(self, queue: JobQueue, redis: Redis, status: JobStatus) -> None:
        job = await admit(queue)
        claim = await claim_next(queue)
        await append(redis, claim, STARTED, DONE)
        await finish(redis, queue, claim, status)
        events = await log_of(redis, job)

        assert await cancel(queue, job) == Stopped(model=MODEL, status=status)
        assert await log_of(redis, job) == events

    async def test_and_that_nobody_remembers_is_not_there(self, queue: JobQueue) -> None:
        missing = JobError("gone")

        assert await queue.stop(new_id(), error=missing, status=JobStatus.FAILED) is None
