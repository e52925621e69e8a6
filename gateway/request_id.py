"""Gives every request an id: the client's own where it is harmless, else a new one."""

import re
from collections.abc import Iterable
from contextvars import ContextVar

from shared.ids import new_id

_HARMLESS = re.compile(rb"[A-Za-z0-9._-]{1,128}")

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
"""The id of the request that this task works for; empty outside a request."""


def choose_request_id(headers: Iterable[tuple[bytes, bytes]], header: bytes) -> str:
    """Return the value of `header` (lower case) if it may stand in logs and headers as it is, else a new id."""
    for name, value in headers:
        if name == header and _HARMLESS.fullmatch(value):
            return value.decode("ascii")
    return new_id()
