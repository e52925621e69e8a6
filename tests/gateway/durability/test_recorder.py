"""Ends of jobs reach PostgreSQL whatever happens on the way, and are told after that."""

import asyncio

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.durability.recorder import Recorder
from shared import redis_keys
from shared.database import accepted_jobs, engine, jobs
from shared.database.engine import Database
from shared.database.jobs import FinishedJob
from shared.database.users import User
from shared.durable_queue import DurableQueue
from shared.ended_jobs import EndedJobs
from shared.errors import JobCancelledError
from shared.events import Chunk, EventKind, Timings, Usage, encode_payload
from shared.ids import new_id
from shared.job_queue import Claim, JobQueue
from shared.jobs import Job, JobEnd, JobStatus
from shared.transcripts import Transcript, decode_transcript
from tests.databases import Databases
from tests.jobs import CHANNEL, MODEL, NOTHING, RETENTION_MS, admit, append, claim_next, log_of, make_job

KEY_ID = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000"
USAGE = Usage(prompt_tokens=3, completion_tokens=5)
TIMINGS = Timings(queue_ms=1, load_ms=2, first_token_ms=7, total_ms=9)
CHUNK = (EventKind.CHUNK, encode_payload(Chunk(model=MODEL, content="Once\u0000 ", done=False)))
LAST = Chunk(model=MODEL, content="upon", done=True, done_reason="stop", usage=USAGE, timings=TIMINGS)


@pytest.fixture
def counted() -> list[FinishedJob]:
    """What the recorders count."""
    return []


@pytest.fixture
def recorder(queue: JobQueue, redis: Redis, database: Database, counted: list[FinishedJob]) -> Recorder:
    del queue  # it sees to it that all keys expire
    return Recorder(redis, EndedJobs(redis), database, count=counted.append)


async def accepted(redis: Redis, database: Database, user_id: str, *, api_key_id: str | None = None) -> Job:
    """Have a durable job stored and enqueued."""
    job = make_job(user=user_id, is_durable=True, api_key_id=api_key_id)
    async with database.transaction() as connection:
        await accepted_jobs.accept(connection, job, queue_timeout_ms=60_000, idempotency=None)
    durable = DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)
    await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=60_000, idempotency=None)
    return job


async def answered(redis: Redis, queue: JobQueue) -> Claim:
    """Have a worker answer the next job, and leave it."""
    claim = await claim_next(queue)
    await append(redis, claim, CHUNK)
    end = JobEnd(
        user_id=claim.job.user_id,
        kind=claim.job.kind,
        model=claim.job.model,
        status=JobStatus.COMPLETED,
        request_id=claim.job.request_id,
        queue_ms=1,
        total_ms=9,
        attempts=1,
        epoch=claim.epoch,
        is_durable=True,
        api_key_id=claim.job.api_key_id,
        terminal="d" + encode_payload(LAST).decode(),
        worker="gpu-1",
    )
    call = queue.leave_call(claim, end, entries=0, service_ms=0, consumption=NOTHING)
    assert await redis.execute_command(*call.whole)
    return claim


async def row_of(database: Database, job: Job) -> FinishedJob | None:
    async with database.transaction() as connection:
        return await jobs.find(connection, job.id)


async def is_accepted(database: Database, job: Job) -> bool:
    async with database.transaction() as connection:
        return bool(await accepted_jobs.find(connection, [job.id]))


async def test_an_answer_is_stored_and_then_told(
    recorder: Recorder, queue: JobQueue, redis: Redis, database: Database, ada: User, counted: list[FinishedJob]
) -> None:
    job = await accepted(redis, database, ada.id)
    await answered(redis, queue)
    assert await is_accepted(database, job)

    assert await recorder.record() == 1

    row = await row_of(database, job)
    assert row is not None
    assert (row.status, row.worker, row.attempts, row.is_durable) == (JobStatus.COMPLETED, "gpu-1", 1, True)
    assert (row.prompt_tokens, row.completion_tokens, row.first_token_ms) == (3, 5, 7)
    assert row.answer is not None
    assert decode_transcript(row.answer) == Transcript(
        content="Once\u0000 upon", done_reason="stop", usage=USAGE, timings=TIMINGS
    )
    assert not await is_accepted(database, job)
    assert [event.kind for event in await log_of(redis, job)] == [b"c", b"d"]
    assert counted == [row]
    assert await recorder.record() == 0


async def test_what_is_cancelled_while_it_waits_leaves_a_row_too(
    recorder: Recorder, queue: JobQueue, redis: Redis, database: Database, ada: User
) -> None:
    attached = await admit(queue, make_job(user=ada.id))
    durable = await accepted(redis, database, ada.id)
    for job in (attached, durable):
        await queue.stop(job.id, error=JobCancelledError("Cancelled."), status=JobStatus.CANCELLED)

    assert await recorder.record() == 2

    for job in (attached, durable):
        row = await row_of(database, job)
        assert row is not None
        assert (row.status, row.error_code, row.attempts) == (JobStatus.CANCELLED, "cancelled", 0)
        assert (row.answer is not None) == job.is_durable
        (event,) = await log_of(redis, job)
        assert event.kind == EventKind.ERROR.value


@pytest.mark.parametrize(
    "api_key_id", [None, "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000"], ids=["in a session", "with a key"]
)
async def test_the_row_of_every_job_says_with_which_key_it_was_asked_for(
    recorder: Recorder, queue: JobQueue, redis: Redis, database: Database, ada: User, api_key_id: str | None
) -> None:
    completed = await accepted(redis, database, ada.id, api_key_id=api_key_id)
    await answered(redis, queue)
    waiting = [
        await admit(queue, make_job(user=ada.id, api_key_id=api_key_id)),
        await accepted(redis, database, ada.id, api_key_id=api_key_id),
    ]
    for job in waiting:
        await queue.stop(job.id, error=JobCancelledError("Cancelled."), status=JobStatus.CANCELLED)

    assert await recorder.record() == 3

    rows = [await row_of(database, job) for job in (completed, *waiting)]
    assert [row.api_key_id for row in rows if row] == [api_key_id] * 3


async def test_nothing_is_told_while_postgresql_does_not_answer(
    recorder: Recorder, queue: JobQueue, redis: Redis, database: Database, ada: User, databases: Databases
) -> None:
    job = await accepted(redis, database, ada.id)
    await answered(redis, queue)

    async with databases.frozen():
        assert await recorder.record() == 0
        assert [event.kind for event in await log_of(redis, job)] == [b"c"]
        assert await redis.zcard(redis_keys.UNSTORED) == 1

    assert await recorder.record() == 1
    assert [event.kind for event in await log_of(redis, job)] == [b"c", b"d"]


async def test_a_gateway_that_dies_between_commit_and_telling_is_made_good_by_another(
    recorder: Recorder, queue: JobQueue, redis: Redis, database: Database, ada: User
) -> None:
    job = await accepted(redis, database, ada.id)
    await answered(redis, queue)
    ended = EndedJobs(redis)
    (end,) = (await ended.take(1)).values()
    await recorder._store({job.id: end})  # pyright: ignore[reportPrivateUsage]  and no more
    stored = await row_of(database, job)
    await ended.give_back([job.id])  # what the end of the lease does

    assert await recorder.record() == 1

    assert await row_of(database, job) == stored
    assert [event.kind for event in await log_of(redis, job)] == [b"c", b"d"]


async def test_many_gateways_at_once_tell_and_count_each_end_once(
    queue: JobQueue, redis: Redis, database: Database, ada: User, counted: list[FinishedJob]
) -> None:
    made = [await accepted(redis, database, ada.id) for _ in range(5)]
    for _ in made:
        await answered(redis, queue)
    recorders = [Recorder(redis, EndedJobs(redis), database, count=counted.append) for _ in range(4)]

    counts = await asyncio.gather(*(recorder.record() for recorder in recorders))

    assert sum(counts) == len(made)
    assert sorted(row.id for row in counted) == [job.id for job in made]
    for job in made:
        assert [event.kind for event in await log_of(redis, job)] == [b"c", b"d"]


async def test_the_job_of_a_user_who_is_gone_ends_without_a_row(
    recorder: Recorder, queue: JobQueue, redis: Redis, database: Database
) -> None:
    job = make_job(user=new_id(), is_durable=True)
    durable = DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)
    await durable.enqueue(job, channel=CHANNEL, queue_timeout_ms=60_000, idempotency=None)
    await answered(redis, queue)

    assert await recorder.record() == 1

    assert await row_of(database, job) is None
    *_, last = await log_of(redis, job)
    assert msgspec.json.decode(last.payload, type=Chunk).done


async def test_an_end_that_postgresql_refuses_holds_up_no_other(
    recorder: Recorder, queue: JobQueue, redis: Redis, database: Database, ada: User
) -> None:
    refused = await admit(queue, make_job(user=ada.id, model="a model with \x00"))
    good = await admit(queue, make_job(user=ada.id))
    for job in (refused, good):
        await queue.stop(job.id, error=JobCancelledError("Cancelled."), status=JobStatus.CANCELLED)

    assert await recorder.record() == 1

    assert await row_of(database, good) is not None
    assert await redis.zrange(redis_keys.UNSTORED, 0, -1) == [refused.id.encode()]


async def test_a_database_without_the_schema_is_waited_out(queue: JobQueue, redis: Redis, databases: Databases) -> None:
    job = await admit(queue)
    await queue.stop(job.id, error=JobCancelledError("Cancelled."), status=JobStatus.CANCELLED)
    async with databases.fresh() as url:
        database = engine.connect(url, role="test")
        assert await Recorder(redis, EndedJobs(redis), database, count=print).record() == 0
        await database.close()
    assert await redis.zrange(redis_keys.UNSTORED, 0, -1) == [job.id.encode()]
