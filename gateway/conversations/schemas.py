"""What a client says of a conversation, and is told of it."""

from typing import Annotated, Self

from msgspec import Meta, Raw, Struct

from gateway.request_body import ONE_LINE
from shared.clock import Timestamp
from shared.database.conversations import Conversation
from shared.database.messages import Message, MessageStatus, decode_parts

Title = Annotated[str, Meta(min_length=1, max_length=200, pattern=ONE_LINE)]


class NewConversation(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/conversations`."""

    title: Title | None = None  # null: the first message gives it one


class Renaming(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PATCH /v1/conversations/{id}`."""

    title: Title


class ConversationPage(Struct, frozen=True):
    """Some of the caller's conversations, the last active one first."""

    data: list[Conversation]
    next_cursor: str | None  # for the page after this one; null: there is none


class ConversationMessage(Struct, frozen=True, kw_only=True):
    """What a client or a model has said."""

    id: str
    role: str
    content: str
    thinking: str | None
    images: list[str] | None  # base64
    tool_calls: list[Raw] | None
    tool_name: str | None
    status: MessageStatus
    job_id: str | None  # that it is the reply of; null: a client said it
    model: str | None  # that replied
    error_code: str | None  # why a reply is not whole
    created_at: Timestamp

    @classmethod
    def of(cls, message: Message) -> Self:
        """Return a message as clients see it."""
        parts = decode_parts(message.parts)
        return cls(
            id=message.id,
            role=message.role,
            content=message.content,
            thinking=parts.thinking,
            images=parts.images,
            tool_calls=parts.tool_calls,
            tool_name=parts.tool_name,
            status=message.status,
            job_id=message.job_id,
            model=message.model,
            error_code=message.error_code,
            created_at=message.created_at,
        )


class MessagePage(Struct, frozen=True):
    """Some of the messages of a conversation, in the order in which they were said."""

    data: list[ConversationMessage]
    next_cursor: str | None  # for the page after this one; null: there is none


class ExportedConversation(Struct, frozen=True):
    """A conversation with everything that was said in it."""

    id: str
    title: str | None
    created_at: Timestamp
    updated_at: Timestamp
    messages: list[ConversationMessage]
