"""By what usage is counted, and which page of it is asked for: `?group_by=&limit=&cursor=`."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import msgspec
from msgspec import Meta, Struct

from gateway import paging
from gateway.operation import Parameter
from shared.database.usage import Dimension
from shared.errors import InvalidRequestError

DEFAULT = (Dimension.DAY,)
PARAMETERS = (
    Parameter(
        "group_by",
        "query",
        f"Some of {', '.join(Dimension)}, with commas in between; `{','.join(DEFAULT)}` unless told.",
        pattern=rf"^({'|'.join(Dimension)})(,({'|'.join(Dimension)}))*$",
    ),
    *paging.PARAMETERS,
)
MAX_CURSOR_CHARS = 1024

_Value = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00]*$(?!\n)")]
_cursor_values = msgspec.json.Decoder(list[_Value])


class Grouping(Struct, frozen=True):
    """What rows differ by, and which of them are asked for."""

    by: tuple[Dimension, ...]  # in the order of `Dimension`
    after: tuple[str, ...] | None  # rows behind this group; None: from the first on
    limit: int

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """Return what a query asks for.

        Raises:
            InvalidRequestError: A parameter has no such value.

        """
        by = _dimensions(query.get("group_by"))
        return cls(by, _after(query.get("cursor"), len(by)), paging.limit_of(query))


def cursor_at(group: Sequence[str]) -> str:
    """Return the cursor of the page that begins behind a group."""
    return base64.urlsafe_b64encode(msgspec.json.encode(group)).decode().rstrip("=")


def _dimensions(text: str | None) -> tuple[Dimension, ...]:
    if text is None:
        return DEFAULT
    names = text.split(",")
    if len(set(names)) < len(names) or not set(names) <= set(Dimension):
        raise InvalidRequestError(f"Some of {', '.join(Dimension)}, each once.", param="group_by")
    return tuple(dimension for dimension in Dimension if dimension in names)


def _after(cursor: str | None, size: int) -> tuple[str, ...] | None:
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor[:MAX_CURSOR_CHARS] + "=" * (-len(cursor) % 4), b"-_", validate=True)
        group = tuple(_cursor_values.decode(text))
    except (binascii.Error, msgspec.DecodeError, UnicodeError, ValueError):
        group = ()
    if len(group) != size:
        raise InvalidRequestError("A `next_cursor` of an earlier page, with the same `group_by`.", param="cursor")
    return group
