"""Makes the events of jobs, as workers write them."""

from typing import Literal

from msgspec import UNSET, Raw, Struct

from shared.events import (
    Chunk,
    ErrorBody,
    ErrorDetail,
    Event,
    EventKind,
    Resumed,
    Started,
    Timings,
    Usage,
    encode_payload,
)

USAGE = Usage(prompt_tokens=3, completion_tokens=5)
TIMINGS = Timings(queue_ms=1, load_ms=2, first_token_ms=7, total_ms=9)
ERROR = ErrorDetail("upstream_error", "server_error", "Ollama failed.", None, "r")

Written = tuple[EventKind, Struct]
"""A kind with its payload."""

STARTED: Written = (EventKind.STARTED, Started(job_id="1", worker="w", attempt=1))
FAILED: Written = (EventKind.ERROR, ErrorBody(ERROR))


def chunk(content: str = "", *, thinking: str = "", tool_calls: bytes = b"") -> Written:
    """Return a piece of an answer."""
    return EventKind.CHUNK, Chunk(
        model="m",
        content=content,
        done=False,
        thinking=thinking or UNSET,
        tool_calls=Raw(tool_calls) if tool_calls else UNSET,
    )


def done(
    content: str = "", *, reason: str = "stop", usage: Usage = USAGE, thinking: str = "", tool_calls: bytes = b""
) -> Written:
    """Return the last piece of an answer."""
    return EventKind.DONE, Chunk(
        model="m",
        content=content,
        done=True,
        thinking=thinking or UNSET,
        tool_calls=Raw(tool_calls) if tool_calls else UNSET,
        done_reason=reason,
        usage=usage,
        timings=TIMINGS,
        job_id="1",
    )


def resumed(mode: Literal["continued", "restarted"]) -> Written:
    """Return that another worker took over."""
    return EventKind.RESUMED, Resumed(attempt=2, mode=mode)


def events(*written: Written) -> list[Event]:
    """Return the events as a reader gets them."""
    return [Event(seq, kind.value, encode_payload(payload)) for seq, (kind, payload) in enumerate(written, 1)]
