"""Waits for a whole answer, for clients that do not stream."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from litestar.types import Receive
from msgspec import Struct

from gateway.relay import Reader
from shared.errors import DrainingError, JobCancelledError
from shared.events import ErrorBody, EventKind, Resumed

RETRY_ELSEWHERE_S = 1.0

_errors = msgspec.json.Decoder(ErrorBody)
_resumptions = msgspec.json.Decoder(Resumed)


class Answer(Struct, frozen=True):
    """How a job ended: the chunks as one JSON array, or the error shape."""

    body: bytes
    error_code: str | None  # None: the whole answer is there


async def collect(reader: Reader, receive: Receive) -> Answer:
    """Wait for the end of a job.

    Raises:
        JobCancelledError: The client has gone.
        DrainingError: This process stops, and had no time to wait for the end.

    """
    chunks: list[bytes] = []
    async with _until_disconnect(receive):
        async for events in reader.events():
            for _, kind, payload in events:
                if kind in (EventKind.CHUNK.value, EventKind.DONE.value):
                    chunks.append(payload)
                elif kind == EventKind.RESUMED.value:
                    chunks = _after_takeover(chunks, payload)
                elif kind == EventKind.ERROR.value:
                    return Answer(payload, _errors.decode(payload).error.code)
    if not reader.ended:
        raise DrainingError("This gateway stops; ask again.", retry_after_s=RETRY_ELSEWHERE_S)
    return Answer(b"[" + b",".join(chunks) + b"]", None)


def _after_takeover(chunks: list[bytes], payload: bytes) -> list[bytes]:
    return [] if _resumptions.decode(payload).mode == "restarted" else chunks


@asynccontextmanager
async def _until_disconnect(receive: Receive) -> AsyncGenerator[None]:
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
