"""Who may call a route. Every route says it: `@get("/", access=Access.CHAT)`; one that does not ends the start.

Litestar keeps such keywords with the handler, as it does with `operation` (gateway/operation.py).
"""

from collections.abc import Iterable
from enum import StrEnum

from litestar.handlers import BaseRouteHandler
from litestar.routes import BaseRoute, HTTPRoute


class Access(StrEnum):
    """Who may call a route. A session may do whatever its user may; an API key needs a scope of the route's name."""

    PUBLIC = "public"  # anybody
    OPERATOR = "operator"  # whoever the operator gave a token of its own, if there is one
    ANY_CREDENTIAL = "any_credential"  # every session and every API key
    SESSION = "session"  # people who have logged in, and no API key: what concerns accounts and keys themselves
    CHAT = "chat"
    CONVERSATIONS = "conversations"
    USAGE = "usage"
    ADMIN = "admin"  # sessions of admins


SCOPES = frozenset({Access.CHAT, Access.CONVERSATIONS, Access.USAGE})
"""What an API key may be allowed."""

LITESTARS_OWN = "options_handler"  # beside every route; it tells which methods there are


class UndeclaredAccessError(Exception):
    """A route does not say who may call it."""


def access_of(handler: BaseRouteHandler) -> Access:
    """Return who may call a route.

    Raises:
        UndeclaredAccessError: It does not say.

    """
    access = handler.opt.get("access")
    if isinstance(access, Access):
        return access
    if handler.handler_name == LITESTARS_OWN:
        return Access.ANY_CREDENTIAL
    raise UndeclaredAccessError(f"{handler.handler_name} does not declare `access`.")


def check_declared(routes: Iterable[BaseRoute]) -> None:
    """Accept routes all of which say who may call them.

    Raises:
        UndeclaredAccessError: One does not.

    """
    for route in routes:
        if isinstance(route, HTTPRoute):
            for handler, _ in route.route_handler_map.values():
                access_of(handler)
