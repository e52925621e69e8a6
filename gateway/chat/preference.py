"""Reads `Prefer: respond-async` (RFC 7240): the client wants a job rather than its answer."""

from collections.abc import Iterable

HEADER = "Prefer"
RESPOND_ASYNC = "respond-async"
APPLIED = {"Preference-Applied": RESPOND_ASYNC}

_NAME = HEADER.lower().encode()


def prefers_async(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether one of a request's preferences is `respond-async`; others are ignored, as are parameters."""
    given = b",".join(value for name, value in headers if name == _NAME)
    return any(_token(preference) == RESPOND_ASYNC for preference in given.decode("latin-1").split(","))


def _token(preference: str) -> str:
    return preference.partition(";")[0].partition("=")[0].strip().lower()
