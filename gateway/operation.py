"""What a route says of itself for the OpenAPI document, beyond its signature: `@post("/", operation=Operation(…))`.

Litestar keeps such keywords with the handler; schema.py reads them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from shared.errors import DeeperSensorError

JSON = "application/json"


class Answer(Struct, frozen=True):
    """A successful answer that a handler's return type does not describe."""

    description: str
    kind: Any = None  # the type of the body; None: there is none
    media_type: str = JSON
    headers: Sequence[str] = ()  # beyond those that every response has
    streams: str | None = None  # the media type in which it comes piece by piece, if the client likes; None: never


class Parameter(Struct, frozen=True):
    """What a handler takes from a header or the query by itself; never required."""

    name: str
    place: Literal["header", "query"]
    description: str
    pattern: str | None = None  # that text must match
    number: Mapping[str, Any] | None = None  # the schema of what is a number; None: it is text


class Operation(Struct, frozen=True, kw_only=True):
    """What a handler takes, answers and refuses.

    The errors of reading a body, of authentication and of rate limits are added by schema.py where they belong.
    """

    body: type[Struct] | None = None
    answers: Mapping[int, Answer] | None = None  # by status; None: what the handler returns
    errors: Sequence[type[DeeperSensorError]] = ()
    parameters: Sequence[Parameter] = ()
    is_limited: bool = False  # by the handler itself: rate_limited, and the headers of limits
