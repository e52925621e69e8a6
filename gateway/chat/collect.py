"""Waits for a whole answer, for clients that do not stream."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from litestar.types import Receive

from gateway.chat.parting import parting_error
from gateway.error_responses import ReportedError
from gateway.relay import Reader
from shared.errors import JobCancelledError
from shared.events import ErrorBody, Event, EventKind, Resumed

PIECES = frozenset({EventKind.CHUNK.value, EventKind.DONE.value})

_errors = msgspec.json.Decoder(ErrorBody)
_resumptions = msgspec.json.Decoder(Resumed)


async def collect(reader: Reader, receive: Receive) -> list[Event]:
    """Wait for the end of a job, and return its events: those that count, the last of which is the end of the answer.

    Raises:
        ReportedError: The job ended otherwise.
        JobCancelledError: The client has gone.
        DrainingError: This process stops, and had no time to wait for the end.

    """
    seen: list[Event] = []
    async with until_disconnect(receive):
        async for events in reader.events():
            for event in events:
                if event.kind == EventKind.ERROR.value:
                    raise ReportedError(_errors.decode(event.payload).error)
                if event.kind == EventKind.RESUMED.value and _resumptions.decode(event.payload).mode == "restarted":
                    seen.clear()
                seen.append(event)
    if not reader.ended:
        raise parting_error(reader)
    return seen


@asynccontextmanager
async def until_disconnect(receive: Receive) -> AsyncGenerator[None]:
    """End what runs inside when the client goes away.

    Raises:
        JobCancelledError: It has.

    """
    scope = asyncio.timeout(None)

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.reschedule(asyncio.get_running_loop().time())

    try:
        async with scope:
            watcher = asyncio.create_task(watch())
            try:
                yield
            finally:
                watcher.cancel()
    except TimeoutError:
        raise JobCancelledError("The client has gone.") from None
