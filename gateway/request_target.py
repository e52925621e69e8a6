"""Holds path and query of a request to what its route declares.

Litestar finds the same route for `/metrics`, `//metrics`, `/metrics/` and `/%6detrics`; a proxy that keeps strangers
from the first would let the others through. On `/v1` a query has nothing that would be ignored: `?limt=5` is a mistake
that an answer with 20 entries would hide, and of `?limit=1&limit=100` two readers may take different ones.
"""

import re
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

from litestar import Request
from litestar.handlers import BaseRouteHandler

from gateway.admission.limited_routes import charge_address
from gateway.chat import stream_links
from gateway.chat.reader_access import RequireReader
from gateway.operation import Operation
from shared.errors import InvalidRequestError, NotFoundError

STRICT_BELOW = "/v1/"
FREE_PATH = "free_path"  # a route says so whose path ends in a name that clients may escape, such as a model's
MAY_END_IN_SLASH = "may_end_in_slash"  # a route says so that clients of others' look for in both ways
MAX_NAME_CHARS = 64  # of a name that comes back in the answer

_HALF_AN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


async def check_target(request: Request[Any, Any, Any]) -> None:
    """Run before the handler of every route.

    Raises:
        NotFoundError: The path is not written as its route is.
        InvalidRequestError: A parameter is not declared, or stands there twice, or is no text in UTF-8.

    """
    raw_path: bytes = request.scope["raw_path"]
    handler = request.scope["route_handler"]
    if not _is_written_as_its_route(raw_path, handler):
        raise NotFoundError("There is nothing at this path.")
    query: bytes = request.scope["query_string"]
    if query and request.scope["path"].startswith(STRICT_BELOW):
        try:
            refuse_undeclared(query, _declared_by(handler))
        except InvalidRequestError:
            if handler.opt.get("operation", Operation()).is_limited:  # no middleware has spent anything yet
                await charge_address(request.scope)
            raise


def _is_written_as_its_route(raw_path: bytes, handler: BaseRouteHandler) -> bool:
    if handler.opt.get(FREE_PATH):
        return True
    if handler.opt.get(MAY_END_IN_SLASH):
        raw_path = raw_path.removesuffix(b"/")
    return not (b"%" in raw_path or b"//" in raw_path or raw_path.endswith(b"/"))


def refuse_undeclared(query: bytes, declared: frozenset[str]) -> None:
    """Look at every parameter of a query.

    Raises:
        InvalidRequestError: As in `check_target`.

    """
    seen: set[str] = set()
    for part in filter(None, query.split(b"&")):
        given_name, _, given_value = part.partition(b"=")
        name, value = _text(given_name), _text(given_value)
        if name not in declared:
            raise InvalidRequestError("There is no such parameter here.", param=name[:MAX_NAME_CHARS])
        if name in seen:
            raise InvalidRequestError("The parameter may be sent once.", param=name)
        if _CONTROL.search(value):
            raise InvalidRequestError("Control characters are not allowed.", param=name)
        seen.add(name)


def _text(given: bytes) -> str:
    if _HALF_AN_ESCAPE.search(given):
        raise InvalidRequestError("A percent sign in the query is no escape.")
    try:
        return unquote_to_bytes(given.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise InvalidRequestError("The query is not UTF-8.") from None


@cache
def _declared_by(handler: BaseRouteHandler) -> frozenset[str]:
    operation: Operation = handler.opt.get("operation", Operation())
    names = {parameter.name for parameter in operation.parameters if parameter.place == "query"}
    if RequireReader in handler.resolve_middleware():
        names.add(stream_links.PARAMETER)
    return frozenset(names)
