"""The table `messages`: what was said in conversations, in order, by clients and by models.

Of a message that is more than text the rest is in one column, `parts`, as ASCII JSON: nothing that a model says there
can offend PostgreSQL, and nobody asks for it by itself.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Raw, Struct
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database.jobs import FinishedJob
from shared.database.tables import messages
from shared.events import encode_payload
from shared.ids import new_id
from shared.jobs import JobStatus
from shared.transcripts import Transcript, decode_transcript

PAGE_BYTES = 1 << 20  # a page ends before it grows beyond that, if it has something on it
MOST_SEARCHED = 32_768  # characters of a message: no text of this length makes a tsvector of more than 1 MiB
MOST_SEARCHED_AT_ONCE = 65_536  # of all that is said at once: new words alone cost the index 3 ms per 1,000


class MessageStatus(StrEnum):
    """Whether a message is all that was to be said."""

    COMPLETE = "complete"
    CANCELLED = "cancelled"  # a reply that was stopped in the middle, or before it began
    FAILED = "failed"  # a reply that broke off, or never came


_REPLY_STATUS = {JobStatus.COMPLETED: MessageStatus.COMPLETE, JobStatus.CANCELLED: MessageStatus.CANCELLED}


class Parts(Struct, frozen=True, omit_defaults=True):
    """What a message has beside its text."""

    thinking: str | None = None
    images: list[str] | None = None  # base64
    tool_calls: list[Raw] | None = None
    tool_name: str | None = None


class Message(Struct, frozen=True, kw_only=True):
    """One row."""

    id: str
    position: int  # in its conversation, from 1
    role: str
    content: str
    parts: str | None  # what else it has: `decode_parts`
    status: MessageStatus
    job_id: str | None  # of a reply; None: the client said it
    model: str | None  # that replied
    error_code: str | None  # of a reply that is not whole
    created_at: datetime


class NewMessage(Struct, frozen=True):
    """What a client says."""

    role: str
    content: str
    parts: str | None  # as `encode_parts` writes them


_NOTHING = Parts()
_parts = msgspec.json.Decoder(Parts)
_columns = [messages.c[name] for name in Message.__struct_fields__]
_size = func.octet_length(messages.c.content) + func.coalesce(func.octet_length(messages.c.parts), 0)

# A reply that is there already came of an end that was told to nobody; the job has been done again since.
_ADD_REPLY = text(
    """
    INSERT INTO messages
        (conversation_id, position, id, user_id, role, content, parts, status, job_id, model, error_code, searched)
    SELECT
        conversations.id,
        (SELECT coalesce(max(position), 0) + 1 FROM messages WHERE conversation_id = conversations.id),
        CAST(:id AS uuid), conversations.user_id, 'assistant', :content, :parts, :status, CAST(:job_id AS uuid), :model,
        :error_code, :searched
    FROM conversations
    WHERE conversations.id = CAST(:conversation_id AS uuid)
    ON CONFLICT (job_id) DO UPDATE
    SET content = excluded.content, parts = excluded.parts, status = excluded.status, error_code = excluded.error_code
    """
)


def encode_parts(parts: Parts) -> str | None:
    """Return parts as they are stored; None: there are none."""
    return None if parts == _NOTHING else encode_payload(parts).decode("ascii")


def decode_parts(parts: str | None) -> Parts:
    """Return what `encode_parts` wrote."""
    return _parts.decode(parts) if parts else _NOTHING


async def last_position(connection: AsyncConnection, conversation_id: str) -> int:
    """Return how many messages a conversation has."""
    statement = select(func.max(messages.c.position)).where(messages.c.conversation_id == conversation_id)
    return (await connection.execute(statement)).scalar_one() or 0


async def history(connection: AsyncConnection, conversation_id: str) -> list[Message]:
    """Return all that was said in a conversation, from the first message on."""
    statement = select(*_columns).where(messages.c.conversation_id == conversation_id).order_by(messages.c.position)
    return [_to_message(row) for row in await connection.execute(statement)]


async def page(connection: AsyncConnection, conversation_id: str, *, after: int, limit: int) -> list[Message]:
    """Return the next messages after a position: at most `limit`, and fewer when they grow beyond PAGE_BYTES."""
    size_up_to_here = func.sum(_size).over(order_by=messages.c.position)
    some = (
        select(*_columns, size_up_to_here.label("size"))
        .where(messages.c.conversation_id == conversation_id, messages.c.position > after)
        .order_by(messages.c.position)
        .limit(limit)
        .subquery()
    )
    statement = (
        select(*(some.c[column.name] for column in _columns))
        .where((some.c.size <= PAGE_BYTES) | (some.c.position == after + 1))
        .order_by(some.c.position)
    )
    return [_to_message(row) for row in await connection.execute(statement)]


async def append(
    connection: AsyncConnection, conversation_id: str, new: Sequence[NewMessage], *, user_id: str, after: int
) -> None:
    """Insert what a client says, after a position; the conversation must be locked."""
    searched = _searched([len(message.content) for message in new])
    await connection.execute(
        insert(messages),
        [
            {
                "conversation_id": conversation_id,
                "position": position,
                "id": new_id(),
                "user_id": user_id,
                "role": message.role,
                "content": message.content,
                "parts": message.parts,
                "status": MessageStatus.COMPLETE,
                "searched": characters,
            }
            for position, (message, characters) in enumerate(zip(new, searched, strict=True), start=after + 1)
        ],
    )


async def add_replies(
    connection: AsyncConnection, ended: Sequence[FinishedJob], conversation_of: Mapping[str, str]
) -> None:
    """Insert what jobs have answered at the end of their conversations, which must be locked.

    Args:
        connection: In a transaction.
        ended: Jobs with their answers.
        conversation_of: In which conversation which job answers.

    """
    replies = [_to_reply(job, conversation_of[job.id]) for job in ended]
    await connection.execute(_ADD_REPLY, replies)


async def job_ids(connection: AsyncConnection, conversation_id: str) -> list[str]:
    """Return the jobs that have replied in a conversation."""
    statement = select(messages.c.job_id).where(
        messages.c.conversation_id == conversation_id, messages.c.job_id.is_not(None)
    )
    return list((await connection.execute(statement)).scalars())


def _searched(lengths: Sequence[int]) -> list[int]:
    """Return how much of each of some messages is to be searched: of the last ones most, since they are the news."""
    left, searched = MOST_SEARCHED_AT_ONCE, list[int]()
    for length in reversed(lengths):
        searched.append(min(length, MOST_SEARCHED, left))
        left -= searched[-1]
    return searched[::-1]


def _to_reply(job: FinishedJob, conversation_id: str) -> dict[str, Any]:
    transcript = decode_transcript(job.answer) if job.answer else Transcript()
    parts = Parts(
        thinking=transcript.thinking or None,
        tool_calls=transcript.tool_calls or None,
    )
    return {
        "conversation_id": conversation_id,
        "id": new_id(),
        "content": transcript.content.replace("\0", "\N{REPLACEMENT CHARACTER}"),  # PostgreSQL takes no NUL
        "parts": encode_parts(parts),
        "status": _REPLY_STATUS.get(job.status, MessageStatus.FAILED),
        "job_id": job.id,
        "model": job.model,
        "error_code": job.error_code,
        "searched": MOST_SEARCHED,
    }


def _to_message(row: object) -> Message:
    return msgspec.convert(row, Message, from_attributes=True)
