"""Writes a conversation out as one JSON document, some messages at a time, however long it is."""

import logging
from collections.abc import AsyncGenerator, Sequence

import msgspec

from gateway import paging
from gateway.conversations.schemas import ConversationMessage
from shared.database import messages
from shared.database.conversations import Conversation
from shared.database.engine import Database
from shared.database.messages import Message
from shared.errors import NotFoundError, StoreUnavailableError

_FIELDS = ("id", "title", "created_at", "updated_at")

_log = logging.getLogger(__name__)


async def export(database: Database, conversation: Conversation) -> AsyncGenerator[bytes]:
    """Yield a conversation as an `ExportedConversation` in JSON.

    If it is deleted meanwhile, or PostgreSQL goes away, the document breaks off: it is no JSON then.
    """
    separator = b',"messages":['
    yield msgspec.json.encode({name: getattr(conversation, name) for name in _FIELDS})[:-1]
    try:
        async for page in _pages(database, conversation.id):
            yield separator + msgspec.json.encode([ConversationMessage.of(message) for message in page])[1:-1]
            separator = b","
    except (NotFoundError, StoreUnavailableError) as error:
        _log.warning("export_broken_off", extra={"error": error.message})
        return
    yield b"]}" if separator == b"," else separator + b"]}"


async def _pages(database: Database, conversation_id: str) -> AsyncGenerator[Sequence[Message]]:
    """Yield all messages.

    Raises:
        NotFoundError: The conversation was deleted.
        StoreUnavailableError: PostgreSQL is out of reach.

    """
    position = 0
    while True:
        async with database.transaction() as connection:
            page = await messages.page(connection, conversation_id, after=position, limit=paging.MOST)
            last = await messages.last_position(connection, conversation_id)
        if last < position:
            raise NotFoundError("The conversation was deleted.")
        if not page:
            return
        position = page[-1].position
        yield page
