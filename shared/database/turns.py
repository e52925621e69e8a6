"""Turns of conversations: what a client says is stored with its job's acceptance, the reply with the job's end.

Whoever is to change several of these rows locks in one order: users, conversations, accepted jobs, and then the rest.
"""

from collections.abc import Sequence

from msgspec import Struct, structs
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database import accepted_jobs, conversations, jobs, messages, users
from shared.database.jobs import FinishedJob
from shared.database.messages import NewMessage
from shared.errors import ConversationBusyError, ConversationFullError


class Turn(Struct, frozen=True):
    """What a client says in a conversation, and after what."""

    conversation_id: str
    user_id: str
    after: int  # position of the last message before it; 0: it is the first
    title: str | None  # of the conversation, if it has none
    messages: Sequence[NewMessage]
    is_too_long: bool  # with all that comes before it


async def begin(connection: AsyncConnection, turn: Turn) -> None:
    """Store what a client says; its job must be accepted in the same transaction.

    Raises:
        NotFoundError: There is no such conversation, or it is somebody else's.
        ConversationBusyError: A job has yet to answer in it, or more was said meanwhile.
        ConversationFullError: It is as long as one may be.

    """
    await users.keep(connection, [turn.user_id])
    await conversations.lock(connection, turn.conversation_id, user_id=turn.user_id)
    is_answered = await accepted_jobs.find_in_conversation(connection, turn.conversation_id) is None
    if not is_answered or await messages.last_position(connection, turn.conversation_id) != turn.after:
        raise busy()
    if turn.is_too_long:
        raise ConversationFullError("This conversation is as long as one may be; begin another.", param="messages")
    await messages.append(connection, turn.conversation_id, turn.messages, user_id=turn.user_id, after=turn.after)
    await conversations.touch(connection, [turn.conversation_id], title=turn.title)


def busy() -> ConversationBusyError:
    """Return the refusal of what cannot be said just now."""
    return ConversationBusyError("This conversation has yet to be answered in.", param="conversation_id")


async def end(connection: AsyncConnection, rows: Sequence[FinishedJob]) -> set[str]:
    """Store how jobs have ended, and in their conversations what they have replied. Safe to repeat, in any order.

    Returns:
        The jobs whose answers nobody wants any more: their conversation, or their user, was deleted meanwhile.

    """
    durable = [row.id for row in rows if row.is_durable]
    if not durable:
        await jobs.record_finished(connection, rows)
        return set()
    await users.keep(connection, {row.user_id for row in rows})
    conversation_of = await conversations.lock_of_jobs(connection, durable)
    # A job that was accepted and is not any more has been stored before, or else it was deleted.
    unwanted = set(durable) - await accepted_jobs.remove(connection, durable)
    if unwanted:
        unwanted -= await jobs.answered_among(connection, unwanted)
    wanted = [structs.replace(row, answer=None) if row.id in unwanted else row for row in rows]
    stored = await jobs.record_finished(connection, wanted)
    replies = [row for row in wanted if row.id in stored and row.id in conversation_of]
    if replies:
        await messages.add_replies(connection, replies, conversation_of)
        await conversations.touch(connection, [conversation_of[row.id] for row in replies])
    return unwanted
