"""What conversations ask of PostgreSQL is answered by indexes, whoever asks for how much of how many messages.

The same with a million messages, and how long it takes: `./dev bench --conversations`.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.upgrade import upgrade
from shared.database import accepted_jobs, conversations, engine, jobs, messages, turns, users
from shared.database.conversation_search import search
from shared.database.conversations import NEWEST, Place
from shared.database.engine import Database
from shared.database.messages import NewMessage
from shared.database.turns import Turn
from shared.ids import new_id
from tests.databases import Databases
from tests.finished_jobs import ended
from tests.jobs import make_job
from tests.many_conversations import COMMON, RARE, TALKATIVE, USUAL, fill
from tests.plans import plans_of

MESSAGES = 40_000
Work = Callable[[AsyncConnection], Awaitable[object]]

_SEQ_SCAN = re.compile(r"Seq Scan on (\w+)")
_SMALL = {"accepted_jobs", "users"}  # what is under way, and a page or two: there a scan can be the shortest way


@pytest.fixture(scope="module")
async def library(databases: Databases) -> AsyncIterator[Database]:
    """A database with many messages."""
    async with databases.fresh() as url:
        await upgrade(url)
        await fill(url, messages=MESSAGES)
        database = engine.connect(url, role="test")
        yield database
        await database.close()


@pytest.fixture(params=[TALKATIVE, USUAL], ids=["a user with a fifth of all messages", "one like most"])
def user(request: pytest.FixtureRequest) -> str:
    return request.param


async def latest(library: Database, user: str) -> Place:
    async with library.transaction() as connection:
        (found,) = await conversations.list_of_user(connection, user, after=NEWEST, limit=1)
    return Place(found.updated_at, found.id)


def scans(plans: list[str]) -> set[str]:
    """Return the tables that are read from end to end."""
    assert plans
    return {table for plan in plans for table in _SEQ_SCAN.findall(plan)} - _SMALL


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    "words", [RARE, COMMON, f"-{COMMON}", f"-{RARE}", f"{RARE} or -{COMMON}", f'"{COMMON} word2"', "word300"]
)
async def test_searching(library: Database, user: str, words: str, mode: str) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {mode}")
        await search(connection, user, words, after=NEWEST, limit=21)

    plans = await plans_of(library, work)
    assert scans(plans) == set()
    for plan in plans:
        assert "Parallel" not in plan
        if "messages_search_idx" in plan:
            assert "ARRAY[user_id] @>" in plan, "the words of other users are read"


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_listing(library: Database, user: str, mode: str) -> None:
    place = await latest(library, user)

    async def work(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {mode}")
        for after in (NEWEST, place):
            await conversations.list_of_user(connection, user, after=after, limit=21)

    plans = await plans_of(library, work)
    assert scans(plans) == set()
    for plan in plans:
        assert "conversations_user_id_updated_at_id_idx" in plan


async def test_reading_and_changing_one(library: Database, user: str) -> None:
    place = await latest(library, user)

    async def work(connection: AsyncConnection) -> None:
        await conversations.find(connection, place.id, user_id=user)
        await messages.page(connection, place.id, after=10, limit=21)
        await messages.history(connection, place.id)
        await messages.last_position(connection, place.id)
        await messages.job_ids(connection, place.id)
        await conversations.rename(connection, place.id, user_id=user, title="Other")

    plans = await plans_of(library, work)
    assert scans(plans) == set()
    assert sum("messages_pkey" in plan for plan in plans) >= 3


async def test_turns(library: Database, user: str) -> None:
    place = await latest(library, user)
    job = make_job(user=user, conversation_id=place.id)

    async def work(connection: AsyncConnection) -> None:
        said = [NewMessage("user", "Hi.", None)]
        await turns.begin(connection, Turn(place.id, user, 20, None, said, is_too_long=False))
        await accepted_jobs.accept(connection, job, queue_timeout_ms=1, idempotency=None)
        await turns.end(connection, [ended(job)])

    # An insertion is explained without being done once more, and without what it would hit.
    assert scans(await plans_of(library, work)) == set()


async def test_deleting_one(library: Database, user: str) -> None:
    place = await latest(library, user)

    async def work(connection: AsyncConnection) -> None:
        await users.keep(connection, [user])
        await conversations.lock(connection, place.id, user_id=user)
        await accepted_jobs.find_in_conversation(connection, place.id)
        await jobs.forget_answers_of(connection, [new_id()])
        await conversations.remove(connection, place.id)

    plans = await plans_of(library, work)
    assert scans(plans) <= {"jobs"}  # there is none
