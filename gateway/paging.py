"""How lists are cut into pages: `?limit=&cursor=`, newest first; a cursor is the id of the last thing of a page."""

from collections.abc import Mapping, Sequence
from typing import Protocol, Self, TypeVar

from msgspec import Struct

from gateway.operation import Parameter
from shared.errors import InvalidRequestError
from shared.ids import created_ms, is_id

DEFAULT_LIMIT = 20
MOST = 100
PARAMETERS = (
    Parameter(
        "limit",
        "query",
        f"How many; {DEFAULT_LIMIT} unless told.",
        number={"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT},
    ),
    Parameter("cursor", "query", "The `next_cursor` of the page before."),
)

_END_OF_TIME_MS = 253_402_300_799_999  # what a datetime can hold


class Identified(Protocol):
    """Has an id by which it is older or newer than others."""

    @property
    def id(self) -> str:
        """A UUIDv7."""
        ...


Thing = TypeVar("Thing", bound=Identified)


class PageRequest(Struct, frozen=True):
    """Which page of a list is asked for."""

    limit: int  # things on it, at most
    before: str | None  # it begins after this id, with what is older; None: with the newest

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """Return what `limit` and `cursor` in a query ask for.

        Raises:
            InvalidRequestError: One of them has no such value.

        """
        return cls(limit=limit_of(query), before=_before(query))

    def cut(self, found: Sequence[Thing]) -> tuple[list[Thing], str | None]:
        """Return the page, and the cursor of the next one, if there is more.

        Args:
            found: What there is from `before` on, newest first; one more than `limit` tells that there is more.

        """
        page = list(found[: self.limit])
        return page, page[-1].id if len(found) > self.limit else None


def limit_of(query: Mapping[str, str]) -> int:
    """Return how many things are to be on a page.

    Raises:
        InvalidRequestError: `limit` is no number from 1 to MOST.

    """
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MOST)) and 1 <= int(text) <= MOST):
        raise InvalidRequestError(f"A whole number from 1 to {MOST}.", param="limit")
    return int(text)


def _before(query: Mapping[str, str]) -> str | None:
    text = query.get("cursor")
    if text is None:
        return None
    if not is_id(text) or created_ms(text) > _END_OF_TIME_MS:
        raise InvalidRequestError("A `next_cursor` of an earlier page.", param="cursor")
    return text
