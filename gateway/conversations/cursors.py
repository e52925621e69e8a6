"""Places in lists of conversations and of messages, as text that clients send back."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from shared.database.conversations import NEWEST, Conversation, Place
from shared.errors import InvalidRequestError
from shared.ids import is_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE = re.compile(r"(?P<time>[0-9]{1,18})-(?P<id>.*)")
_POSITION = re.compile(r"[0-9]{1,9}")


def cursor_after(conversation: Conversation) -> str:
    """Return the cursor of the page after a conversation."""
    return f"{(conversation.updated_at - _EPOCH) // timedelta(microseconds=1)}-{conversation.id}"


def place_in(query: Mapping[str, str]) -> Place:
    """Return where a page of conversations begins.

    Raises:
        InvalidRequestError: `cursor` is none of ours.

    """
    text = query.get("cursor")
    if text is None:
        return NEWEST
    found = _PLACE.fullmatch(text)
    if not found or not is_id(found["id"]):
        raise _no_cursor()
    try:
        return Place(_EPOCH + timedelta(microseconds=int(found["time"])), found["id"])
    except OverflowError:
        raise _no_cursor() from None


def position_in(query: Mapping[str, str]) -> int:
    """Return after which position a page of messages begins.

    Raises:
        InvalidRequestError: `cursor` is none of ours.

    """
    text = query.get("cursor", "0")
    if not _POSITION.fullmatch(text):
        raise _no_cursor()
    return int(text)


def _no_cursor() -> InvalidRequestError:
    return InvalidRequestError("A `next_cursor` of an earlier page.", param="cursor")
