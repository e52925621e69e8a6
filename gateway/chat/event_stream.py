"""The native stream: a job's events as server-sent events, each payload the bytes that the worker wrote."""

from collections.abc import Iterable

from shared.events import Event, EventKind

RETRY = b"retry: 1000\n\n"
RETRY_SOON = b"retry: 250\n\n"  # the gateway stops; another one goes on at once

_NAMES = {
    EventKind.QUEUED.value: b"queued",
    EventKind.STARTED.value: b"started",
    EventKind.RESUMED.value: b"resumed",
    EventKind.CHUNK.value: b"chunk",
    EventKind.DONE.value: b"chunk",
    EventKind.ERROR.value: b"error",
}


def to_frames(events: Iterable[Event]) -> bytes:
    """Return the events as frames of `text/event-stream`; those of the log carry their seq as id."""
    return b"".join(map(_frame, events))


def _frame(event: Event) -> bytes:
    seq, kind, payload = event
    if seq:
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq, _NAMES[kind], payload)
    if kind == EventKind.HEARTBEAT.value:
        return b": heartbeat\n\n"
    return b"event: %b\ndata: %b\n\n" % (_NAMES[kind], payload)
