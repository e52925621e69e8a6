"""Keeps conversations for their owners: makes, lists, finds and renames them, and shows what was said."""

from collections.abc import Mapping

from gateway import paging
from gateway.conversations.cursors import cursor_after, place_in, position_in
from gateway.conversations.schemas import ConversationMessage, ConversationPage, MessagePage
from shared.database import conversations, messages
from shared.database.conversation_search import search
from shared.database.conversations import Conversation
from shared.database.engine import Database
from shared.errors import InvalidRequestError, NotFoundError, UnauthenticatedError
from shared.ids import is_id

MOST_SEARCHED = 400  # characters; PostgreSQL takes no word of more than 2 KiB


class ConversationDesk:
    """Keeps conversations in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, user_id: str, *, title: str | None) -> Conversation:
        """Make a conversation.

        Raises:
            UnauthenticatedError: The user is gone.
            StoreUnavailableError: PostgreSQL is out of reach.

        """
        async with self._database.transaction() as connection:
            made = await conversations.create(connection, user_id, title=title)
        if made is None:
            raise UnauthenticatedError("The token is not valid any more.")
        return made

    async def page(self, query: Mapping[str, str], *, user_id: str) -> ConversationPage:
        """Return a page of a user's conversations, as `q`, `limit` and `cursor` in a query ask for.

        Raises:
            InvalidRequestError: One of them has no such value.
            StoreUnavailableError: PostgreSQL is out of reach, or the search takes too long.

        """
        limit, after, words = paging.limit_of(query), place_in(query), _words_in(query)
        async with self._database.transaction() as connection:
            if words:
                found = await search(connection, user_id, words, after=after, limit=limit + 1)
            else:
                found = await conversations.list_of_user(connection, user_id, after=after, limit=limit + 1)
        page = found[:limit]
        return ConversationPage(page, cursor_after(page[-1]) if len(found) > limit else None)

    async def find(self, conversation_id: str, *, user_id: str) -> Conversation:
        """Return a conversation.

        Raises:
            NotFoundError: There is no such conversation, or it is somebody else's.
            StoreUnavailableError: PostgreSQL is out of reach.

        """
        check_id(conversation_id)
        async with self._database.transaction() as connection:
            return await conversations.find(connection, conversation_id, user_id=user_id)

    async def rename(self, conversation_id: str, *, user_id: str, title: str) -> Conversation:
        """Give a conversation another title.

        Raises:
            NotFoundError: There is no such conversation, or it is somebody else's.
            StoreUnavailableError: PostgreSQL is out of reach.

        """
        check_id(conversation_id)
        async with self._database.transaction() as connection:
            return await conversations.rename(connection, conversation_id, user_id=user_id, title=title)

    async def messages(self, conversation_id: str, query: Mapping[str, str], *, user_id: str) -> MessagePage:
        """Return a page of what was said, as `limit` and `cursor` in a query ask for.

        Raises:
            NotFoundError: There is no such conversation, or it is somebody else's.
            InvalidRequestError: `limit` or `cursor` has no such value.
            StoreUnavailableError: PostgreSQL is out of reach.

        """
        check_id(conversation_id)
        limit, after = paging.limit_of(query), position_in(query)
        async with self._database.transaction() as connection:
            await conversations.find(connection, conversation_id, user_id=user_id)
            page = await messages.page(connection, conversation_id, after=after, limit=limit)
            last = await messages.last_position(connection, conversation_id)
        is_last = not page or page[-1].position >= last
        return MessagePage(
            [ConversationMessage.of(message) for message in page], None if is_last else str(page[-1].position)
        )


def check_id(conversation_id: str) -> None:
    """Accept what may be the id of a conversation.

    Raises:
        NotFoundError: There can be none.

    """
    if not is_id(conversation_id):
        raise NotFoundError("There is no such conversation.")


def _words_in(query: Mapping[str, str]) -> str:
    words = query.get("q", "").strip()
    if len(words) > MOST_SEARCHED:
        raise InvalidRequestError(f"At most {MOST_SEARCHED} characters.", param="q")
    return words
