"""Takes up a conversation where it stands: what was said in it comes before what a client says now."""

from collections.abc import Sequence
from typing import Self

import msgspec
from msgspec import Raw, Struct

from gateway.chat.schemas import MOST_MESSAGES, Message
from gateway.chat.title import title_of
from shared.database import conversations, messages
from shared.database.engine import Database
from shared.database.messages import NewMessage, Parts, decode_parts, encode_parts
from shared.database.turns import Turn, busy


class PastMessage(Struct, frozen=True, omit_defaults=True):
    """A message of a conversation, as Ollama is told of it: without what the model thought."""

    role: str
    content: str
    images: list[str] | None = None
    tool_calls: list[Raw] | None = None
    tool_name: str | None = None

    @classmethod
    def of(cls, message: messages.Message) -> Self:
        """Return what a model hears of a message."""
        parts = decode_parts(message.parts)
        return cls(message.role, message.content, parts.images, parts.tool_calls, parts.tool_name)

    @property
    def says_something(self) -> bool:
        """Whether it is worth telling: a reply that was stopped before it began is not."""
        return bool(self.content or self.images or self.tool_calls)


class History(Struct, frozen=True):
    """A conversation as it stands."""

    conversation_id: str
    user_id: str
    messages: Sequence[PastMessage]
    last_position: int  # 0: nothing was said yet

    def turn(self, new: Sequence[Message], *, is_too_long: bool) -> Turn:
        """Return the turn that begins with what a client says now."""
        return Turn(
            conversation_id=self.conversation_id,
            user_id=self.user_id,
            after=self.last_position,
            title=title_of(new),
            messages=[NewMessage(message.role, message.content, _parts_of(message)) for message in new],
            is_too_long=is_too_long or self.last_position + len(new) > MOST_MESSAGES,
        )


async def history_of(database: Database, conversation_id: str, *, user_id: str, is_new: bool) -> History:
    """Return a user's conversation as it stands.

    Args:
        database: Where it is.
        conversation_id: Which one.
        user_id: Whose.
        is_new: Whether what is said now cannot be what is being answered already.

    Raises:
        ConversationBusyError: It is new, and a job has yet to answer.
        NotFoundError: There is no such conversation, or it is somebody else's.
        StoreUnavailableError: PostgreSQL is out of reach.

    """
    async with database.transaction() as connection:
        conversation = await conversations.find(connection, conversation_id, user_id=user_id)
        if is_new and conversation.job_id:
            raise busy()
        said = await messages.history(connection, conversation_id)
    told = [past for past in map(PastMessage.of, said) if past.says_something]
    return History(conversation_id, user_id, told, last_position=said[-1].position if said else 0)


def _parts_of(message: Message) -> str | None:
    tool_calls = [Raw(msgspec.json.encode(call)) for call in message.tool_calls or ()] or None
    return encode_parts(Parts(message.thinking, message.images, tool_calls, message.tool_name))
