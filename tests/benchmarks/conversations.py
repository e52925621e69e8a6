"""How long conversations take among a million messages: their lists, searches and turns, with PostgreSQL's plans."""

import random
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.local.ports import free_port
from infra.local.postgresql import postgresql
from infra.local.unprivileged import account_for_servers
from migrations.upgrade import upgrade
from shared.database import accepted_jobs, conversations, engine, messages, turns
from shared.database.conversation_search import search
from shared.database.conversations import NEWEST, Place
from shared.database.engine import Database
from shared.database.messages import NewMessage
from shared.database.turns import Turn
from tests.benchmarks.markdown import aligned
from tests.benchmarks.ours import started
from tests.finished_jobs import ended
from tests.jobs import make_job
from tests.many_conversations import COMMON, RARE, TALKATIVE, fill
from tests.plans import plans_of

MESSAGES = 1_000_000
QUICK_MESSAGES = 40_000

_OTHERS = 100  # of the other users ask in turns
_TIMES = 400
_WARM_UP = 40
_PAGE = 21  # a page of 20, and whether there is more
_SEED = 11


class _Owner(Struct, frozen=True):
    """Somebody, and where their conversations stand."""

    id: str
    newest: Place
    middle: Place


Work = Callable[[AsyncConnection, _Owner], Awaitable[object]]


async def measure_conversations(directory: Path, *, messages_in_all: int) -> str:
    """Fill a database of its own with messages, and return what each query takes, and its plans.

    Raises:
        StartFailedError: PostgreSQL does not come to serve.

    """
    async with AsyncExitStack() as stack:
        program, url = await postgresql(
            directory / "postgresql",
            port=free_port(),
            password=secrets.token_hex(16),
            log=directory / "postgresql.log",
            account=account_for_servers(),
        )
        await started(stack, program)
        await upgrade(url)
        _say(f"{messages_in_all} messages are being stored")
        await fill(url, messages=messages_in_all)
        database = engine.connect(url, role="bench")
        stack.push_async_callback(database.close)
        return await _measure(database)


async def _measure(database: Database) -> str:
    chance = random.Random(_SEED)
    talkative = await _owner(database, TALKATIVE)
    ids = await _ids_of_others(database)
    others = [await _owner(database, id_) for id_ in chance.sample(ids, min(len(ids), _OTHERS))]
    lines: list[Sequence[str]] = [("query", "one of the others: p50, p99 ms", "who has a fifth of all: p50, p99 ms")]
    plans: list[str] = []
    for name, work in _QUERIES.items():
        _say(name)
        figures = [await _timed(database, work, owners) for owners in (others, [talkative])]
        lines.append((name, *(f"{p50:.1f}, {p99:.1f}" for p50, p99 in figures)))
        for who, owner in (("one of the others", others[0]), ("who has a fifth of all", talkative)):
            told = await plans_of(database, lambda connection, work=work, owner=owner: work(connection, owner))
            plans.append(f"{name}, {who}:\n\n" + "\n\n".join(told))
    return aligned(lines) + "\n\n" + "\n\n\n".join(plans)


async def _timed(database: Database, work: Work, owners: Sequence[_Owner]) -> tuple[float, float]:
    """Return the median and the 99th percentile in ms, of transactions with the commit of what they change."""
    took_ms: list[float] = []
    for turn in range(_WARM_UP + _TIMES):
        began_s = time.perf_counter()
        async with database.transaction() as connection:
            await work(connection, owners[turn % len(owners)])
        took_ms.append((time.perf_counter() - began_s) * 1000)
    percentiles = quantiles(took_ms[_WARM_UP:], n=100)
    return percentiles[49], percentiles[98]


async def _list_first(connection: AsyncConnection, owner: _Owner) -> object:
    return await conversations.list_of_user(connection, owner.id, after=NEWEST, limit=_PAGE)


async def _list_in_the_middle(connection: AsyncConnection, owner: _Owner) -> object:
    return await conversations.list_of_user(connection, owner.id, after=owner.middle, limit=_PAGE)


async def _show(connection: AsyncConnection, owner: _Owner) -> object:
    return await conversations.find(connection, owner.newest.id, user_id=owner.id)


async def _page_of_messages(connection: AsyncConnection, owner: _Owner) -> object:
    await conversations.find(connection, owner.newest.id, user_id=owner.id)
    await messages.page(connection, owner.newest.id, after=0, limit=20)
    return await messages.last_position(connection, owner.newest.id)


async def _history(connection: AsyncConnection, owner: _Owner) -> object:
    return await messages.history(connection, owner.middle.id)


async def _turn(connection: AsyncConnection, owner: _Owner) -> None:
    """Begin a turn and end it: what is said, accepted and replied, in one transaction in place of two."""
    job = make_job(user=owner.id, conversation_id=owner.newest.id)
    after = await messages.last_position(connection, owner.newest.id)
    said = [NewMessage("user", "How is the weather on the other side of the mountains just now?", None)]
    await turns.begin(connection, Turn(owner.newest.id, owner.id, after, None, said, is_too_long=False))
    await accepted_jobs.accept(connection, job, queue_timeout_ms=1, idempotency=None)
    await turns.end(connection, [ended(job, "It rains, as it has rained since the beginning of the week. " * 10)])


def _search(words: str) -> Work:
    async def work(connection: AsyncConnection, owner: _Owner) -> object:
        return await search(connection, owner.id, words, after=NEWEST, limit=_PAGE)

    return work


_QUERIES: dict[str, Work] = {
    "list, first page": _list_first,
    "list, a page in the middle": _list_in_the_middle,
    "show": _show,
    "messages, first page": _page_of_messages,
    "history of 20 messages": _history,
    "search, a rare word": _search(RARE),
    "search, a word in 1 of 130 messages": _search("word500"),
    "search, a word in most messages": _search(COMMON),
    "search, two common words": _search(f"{COMMON} word2"),
    "search, a phrase": _search(f'"{COMMON} word2"'),
    "search, without a common word": _search(f"-{COMMON}"),
    "turn, begun and ended": _turn,
}


async def _owner(database: Database, user_id: str) -> _Owner:
    async with database.transaction() as connection:
        found = await conversations.list_of_user(connection, user_id, after=NEWEST, limit=1_000_000)
    newest, middle = found[0], found[len(found) // 2]
    return _Owner(user_id, Place(newest.updated_at, newest.id), Place(middle.updated_at, middle.id))


async def _ids_of_others(database: Database) -> list[str]:
    async with database.transaction() as connection:
        found = await connection.execute(text("SELECT id::text FROM users ORDER BY id"))
        return [id_ for id_ in found.scalars() if id_ != TALKATIVE]


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")
