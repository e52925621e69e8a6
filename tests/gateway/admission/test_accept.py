"""A durable job is accepted when it is in PostgreSQL, or else there is nothing of it anywhere."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec import structs
from redis.asyncio import Redis

from gateway.admission.accept import DurableGate
from gateway.admission.admit import Admission, Gate
from gateway.admission.settings import QueueSettings
from shared.database import accepted_jobs, conversations, engine
from shared.database.engine import Database
from shared.database.messages import NewMessage
from shared.database.turns import Turn
from shared.database.users import User
from shared.demand import NO_LIMITS, Demand, Limit
from shared.durable_queue import DurableQueue
from shared.errors import (
    ConversationBusyError,
    ConversationFullError,
    DeeperSensorError,
    NotFoundError,
    StoreUnavailableError,
    UnauthenticatedError,
)
from shared.idempotency import Idempotency
from shared.ids import new_id
from shared.job_queue import JobQueue
from shared.jobs import Job
from shared.redis_client import connect
from tests.faults.proxy import FaultProxy
from tests.jobs import CHANNEL, MODEL, RETENTION_MS, claim_next, make_job
from tests.waiting import wait_until

LIMIT = Limit(scope="user", name="ada", per_minute=60, burst=2)
DEMAND = Demand(requests=(LIMIT,))
KEY = Idempotency.of("key", surface="/v1", user_id="ada", request=b"1")


@pytest.fixture
async def nowhere(free_port: int) -> AsyncIterator[Database]:
    """A database that refuses connections."""
    database = engine.connect(f"postgresql://ada@127.0.0.1:{free_port}/ada", role="test")
    yield database
    await database.close()


def gate(redis: Redis, database: Database) -> DurableGate:
    queue = DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)
    return DurableGate(queue, database, QueueSettings())


async def accept(gate: DurableGate, job: Job) -> Admission:
    return await gate.accept(job, demand=DEMAND, channel=CHANNEL, slots=1, queue_timeout_ms=60_000, idempotency=KEY)


@asynccontextmanager
async def unable_to_accept(database: Database) -> AsyncGenerator[None]:
    async with database.transaction() as connection:
        await connection.exec_driver_sql("LOCK TABLE accepted_jobs IN EXCLUSIVE MODE")
        yield


async def until_one_waits(database: Database) -> None:
    """Wait until a job's place is reserved, and its gate at the point of committing it."""

    async def waits() -> bool:
        async with database.transaction() as watching:
            waiting = await watching.exec_driver_sql("SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1")
            return waiting.one_or_none() is not None

    await wait_until(waits, description="a gate is about to commit a job")


async def scripts_run(redis: Redis) -> int:
    """Return how many scripts Redis has been asked to run."""
    statistics = await redis.info("commandstats")
    return int(statistics["cmdstat_evalsha"]["calls"])


async def more_scripts_run(redis: Redis, count: int) -> bool:
    return await scripts_run(redis) >= count


async def is_stored(database: Database, job: Job) -> bool:
    async with database.transaction() as connection:
        return bool(await accepted_jobs.find(connection, [job.id]))


async def test_it_is_stored_and_enqueued(redis: Redis, queue: JobQueue, database: Database, ada: User) -> None:
    job = make_job(user=ada.id, is_durable=True)
    admission = await accept(gate(redis, database), job)
    assert (admission.job_id, admission.place and admission.place.position) == (job.id, 1)
    assert [state.remaining for state in admission.limits] == [1]
    assert await is_stored(database, job)
    assert (await claim_next(queue)).job == job


async def test_nothing_is_left_of_it_when_postgresql_is_away(redis: Redis, queue: JobQueue, nowhere: Database) -> None:
    del queue
    with pytest.raises(StoreUnavailableError):
        await accept(gate(redis, nowhere), make_job(is_durable=True))
    assert await redis.keys() == []


async def test_nothing_is_left_of_it_when_its_user_is_gone(redis: Redis, queue: JobQueue, database: Database) -> None:
    del queue
    with pytest.raises(UnauthenticatedError):
        await accept(gate(redis, database), make_job(user=new_id(), is_durable=True))
    assert await redis.keys() == []


async def test_nothing_is_stored_when_it_is_refused(
    redis: Redis, queue: JobQueue, database: Database, ada: User
) -> None:
    del queue
    gate_ = gate(redis, database)
    job = make_job(user=ada.id, is_durable=True)
    for _ in range(2):
        await gate_.accept(
            make_job(user=ada.id), demand=DEMAND, channel=CHANNEL, slots=1, queue_timeout_ms=1, idempotency=None
        )
    with pytest.raises(DeeperSensorError, match="Too many requests"):
        await accept(gate_, job)
    assert not await is_stored(database, job)


async def test_who_sends_its_key_again_waits_until_it_is_stored(
    redis: Redis, queue: JobQueue, database: Database, ada: User
) -> None:
    durable, attached = gate(redis, database), Gate(queue, QueueSettings(), retention_ms=RETENTION_MS)
    job, again, plain = (make_job(user=ada.id, is_durable=is_durable) for is_durable in (True, True, False))
    async with asyncio.TaskGroup() as requests, unable_to_accept(database):
        first = requests.create_task(accept(durable, job))
        await until_one_waits(database)
        second = requests.create_task(accept(durable, again))
        third = requests.create_task(
            attached.admit(
                plain,
                demand=NO_LIMITS,
                channel=CHANNEL,
                slots=1,
                queue_timeout_ms=1,
                unattended_ms=0,
                grace_ms=0,
                idempotency=KEY,
            )
        )
        asked = await scripts_run(redis)
        await wait_until(lambda: more_scripts_run(redis, asked + 6), description="both have asked several times")
    assert [task.result().job_id for task in (first, second, third)] == [job.id] * 3
    assert [task.result().place is None for task in (first, second, third)] == [False, True, True]
    assert not await is_stored(database, again)


async def test_nobody_waits_for_ever_until_it_is_stored(
    redis: Redis, queue: JobQueue, database: Database, ada: User
) -> None:
    del queue
    durable = DurableQueue(redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)
    await durable.reserve(make_job(), demand=NO_LIMITS, max_depth=9, idempotency=KEY)
    with pytest.raises(StoreUnavailableError, match="is being stored"):
        await accept(gate(redis, database), make_job(user=ada.id, is_durable=True))


async def test_it_stays_accepted_when_redis_goes_before_it_is_enqueued(
    redis_url: str, queue: JobQueue, database: Database, ada: User
) -> None:
    job = make_job(user=ada.id, is_durable=True)
    async with FaultProxy(redis_url) as proxy, connect(proxy.url, role="test") as through_proxy:
        proxy.hold_replies()
        accepting = asyncio.create_task(accept(gate(through_proxy, database), job))
        await proxy.until_held()  # the reservation is made
        async with unable_to_accept(database):
            proxy.mend()
            await until_one_waits(database)
            proxy.cut()
        admission = await accepting
    assert admission.job_id == job.id
    assert await is_stored(database, job)
    assert await queue.claim("worker", {MODEL: 1}, limit=1) == []


async def test_a_turn_that_is_refused_leaves_nothing_and_spends_nothing(
    redis: Redis, queue: JobQueue, database: Database, ada: User
) -> None:
    """Also not its idempotency key: it can be sent again when the conversation has been answered in."""
    del queue
    async with database.transaction() as connection:
        made = await conversations.create(connection, ada.id, title=None)
    assert made is not None
    turn = Turn(made.id, ada.id, 0, "Hi.", [NewMessage("user", "Hi.", None)], is_too_long=False)

    async def send(turn: Turn) -> Admission:
        job = make_job(user=ada.id, conversation_id=turn.conversation_id)
        return await gate(redis, database).accept(
            job, demand=DEMAND, channel=CHANNEL, slots=1, queue_timeout_ms=60_000, idempotency=None, turn=turn
        )

    gone = structs.replace(turn, conversation_id=new_id())
    for refusal, refused in ((ConversationFullError, structs.replace(turn, is_too_long=True)), (NotFoundError, gone)):
        with pytest.raises(refusal):
            await send(refused)
        assert await redis.keys() == []
    await send(turn)
    keys = set(await redis.keys())
    for _ in range(LIMIT.burst):
        with pytest.raises(ConversationBusyError):
            await send(turn)
    assert set(await redis.keys()) == keys
    await accept(gate(redis, database), make_job(user=ada.id, is_durable=True))
