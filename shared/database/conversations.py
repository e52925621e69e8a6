"""The table `conversations`: what its owner calls one, and when something last happened in it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from sqlalchemy import ARRAY, Uuid, any_, bindparam, delete, func, insert, literal, select, tuple_, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import Timestamp
from shared.database.tables import accepted_jobs, conversations, messages, users
from shared.errors import NotFoundError
from shared.ids import new_id

_answering = select(accepted_jobs.c.id).where(accepted_jobs.c.conversation_id == conversations.c.id).scalar_subquery()
_columns = (
    conversations.c.id,
    conversations.c.title,
    conversations.c.created_at,
    conversations.c.updated_at,
    _answering.label("job_id"),
)


class Conversation(Struct, frozen=True):
    """One row, and what goes on in it."""

    id: str
    title: str | None  # None: nothing was said yet that could be one
    created_at: Timestamp
    updated_at: Timestamp  # when something was last said, or the title changed
    job_id: str | None  # that is to answer, or does so just now; None: there is none


class Place(Struct, frozen=True):
    """Where in a list of conversations, newest first, one stands."""

    updated_at: datetime  # aware
    id: str


NEWEST = Place(datetime(9999, 1, 1, tzinfo=UTC), "ffffffff-ffff-ffff-ffff-ffffffffffff")
"""Before all of them."""


async def create(connection: AsyncConnection, user_id: str, *, title: str | None) -> Conversation | None:
    """Insert a conversation and return it; None: its user is gone."""
    id_ = new_id()
    values = select(literal(id_, conversations.c.id.type), users.c.id, literal(title, conversations.c.title.type))
    living = values.where(users.c.id == user_id).with_for_update(read=True, key_share=True)
    inserted = await connection.execute(insert(conversations).from_select(["id", "user_id", "title"], living))
    return await find(connection, id_, user_id=user_id) if inserted.rowcount else None


async def find(connection: AsyncConnection, conversation_id: str, *, user_id: str) -> Conversation:
    """Return a user's conversation.

    Raises:
        NotFoundError: There is no such conversation, or it is somebody else's.

    """
    statement = select(*_columns).where(conversations.c.id == conversation_id, conversations.c.user_id == user_id)
    return _found((await connection.execute(statement)).one_or_none())


async def list_of_user(connection: AsyncConnection, user_id: str, *, after: Place, limit: int) -> list[Conversation]:
    """Return a user's conversations that come after a place, the last active one first."""
    place = tuple_(
        literal(after.updated_at, conversations.c.updated_at.type), literal(after.id, conversations.c.id.type)
    )
    statement = (
        select(*_columns)
        .where(conversations.c.user_id == user_id, tuple_(conversations.c.updated_at, conversations.c.id) < place)
        .order_by(conversations.c.updated_at.desc(), conversations.c.id.desc())
        .limit(limit)
    )
    return [to_conversation(row) for row in await connection.execute(statement)]


async def rename(connection: AsyncConnection, conversation_id: str, *, user_id: str, title: str) -> Conversation:
    """Give a conversation another title and return it.

    Raises:
        NotFoundError: There is no such conversation, or it is somebody else's.

    """
    theirs = (conversations.c.id == conversation_id, conversations.c.user_id == user_id)
    await connection.execute(update(conversations).where(*theirs).values(title=title, updated_at=func.now()))
    return await find(connection, conversation_id, user_id=user_id)


async def lock(connection: AsyncConnection, conversation_id: str, *, user_id: str) -> None:
    """Keep a conversation from being answered, written to and deleted by others until the end of the transaction.

    Raises:
        NotFoundError: There is no such conversation, or it is somebody else's.

    """
    statement = (
        select(conversations.c.id)
        .where(conversations.c.id == conversation_id, conversations.c.user_id == user_id)
        .with_for_update()
    )
    if (await connection.execute(statement)).one_or_none() is None:
        raise _missing()


async def lock_of_jobs(connection: AsyncConnection, job_ids: Sequence[str]) -> dict[str, str]:
    """Lock the conversations that jobs answer or have answered in, and return which they are, by job."""
    ids = bindparam("ids", list(job_ids), ARRAY(Uuid(as_uuid=False)))
    answering = select(accepted_jobs.c.id, accepted_jobs.c.conversation_id).where(accepted_jobs.c.id == any_(ids))
    answered = select(messages.c.job_id, messages.c.conversation_id).where(messages.c.job_id == any_(ids))
    known = union(answering, answered).subquery()
    statement = (
        select(known.c.id.label("job_id"), conversations.c.id)
        .join(conversations, conversations.c.id == known.c.conversation_id)
        .order_by(conversations.c.id)  # everybody in the same order, so that nobody waits for each other
        .with_for_update(of=conversations)
    )
    return {row.job_id: row.id for row in await connection.execute(statement)}


async def touch(connection: AsyncConnection, conversation_ids: Sequence[str], *, title: str | None = None) -> None:
    """Say that something has happened in conversations just now.

    Args:
        connection: In a transaction.
        conversation_ids: Which ones.
        title: For those that have none.

    """
    await connection.execute(
        update(conversations)
        .where(conversations.c.id.in_(conversation_ids))
        .values(updated_at=func.now(), title=func.coalesce(conversations.c.title, title))
    )


async def remove(connection: AsyncConnection, conversation_id: str) -> None:
    """Delete a conversation with its messages."""
    await connection.execute(delete(conversations).where(conversations.c.id == conversation_id))


def to_conversation(row: object) -> Conversation:
    """Return a row that has these columns."""
    return msgspec.convert(row, Conversation, from_attributes=True)


def _found(row: object) -> Conversation:
    if row is None:
        raise _missing()
    return to_conversation(row)


def _missing() -> NotFoundError:
    return NotFoundError("There is no such conversation.")
