"""Takes over the trace of a client that has one: the header `traceparent` of W3C Trace Context."""

import re
from collections.abc import Iterable

_FORM = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the `traceparent` of a request; empty when there is none, more than one, or one that is not well-formed.

    It goes on to workers and Ollama as it is, so nothing else may pass.
    """
    given = [value for name, value in headers if name == b"traceparent"]
    return given[0].decode("ascii") if len(given) == 1 and _FORM.fullmatch(given[0]) else ""
