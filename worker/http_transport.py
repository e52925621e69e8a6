"""A transport for httpx that reads an answer where it arrives: in the connection's protocol, parsed by httptools.

httpx's own transport costs 80 to 140 µs for each token of a stream, aiohttp's under httpx 16 to 18, this one 6 to 8: no
queue, no task and no lock lie between the socket and who waits for it
(docs/decisions/0007-answers-read-in-the-protocol.md). It speaks what a worker needs of HTTP/1.1: one exchange at a time
on a connection, which is kept for the next one when the answer was read to its end; leaving an answer early closes its
connection, and with that Ollama stops.
"""

import asyncio
import ssl
from collections.abc import Coroutine
from typing import Any, Self, cast

import httptools
import httpx

KEEPALIVE_S = 15.0  # less than any server or proxy waits before it closes an idle connection
UNREAD_LIMIT_BYTES = 1 << 20  # of an answer whose reader is busy; then the sender waits

_FIRST_FINAL_STATUS = 200  # what comes before it, as 103, is news on the way to the answer


class Transport(httpx.AsyncBaseTransport):
    """Makes connections as they are needed, any number at once, and keeps the idle ones for a while."""

    def __init__(self) -> None:
        self._idle: dict[_Origin, list[_Connection]] = {}
        self._tls: ssl.SSLContext | None = None  # loading the system's certificates takes 20 ms: when needed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response as soon as its headers are there; its stream gives the body.

        Raises:
            ConnectTimeout: No connection within the request's `timeout` extension.
            ConnectError: No connection; the system's error is the cause.
            ReadError: It broke before the headers were there.
            RemoteProtocolError: What came is not HTTP.

        """
        origin = _origin(request.url)
        idle = self._idle.setdefault(origin, [])
        connection = _wake_one(idle) or await self._connect(origin, idle, request.extensions["timeout"]["connect"])
        try:
            await connection.send(_to_bytes(request))
        except BaseException:
            connection.abort()
            raise
        return httpx.Response(connection.status, headers=connection.headers, stream=_Body(connection))

    def count_idle(self) -> int:
        """Return how many connections wait for a next request."""
        return sum(map(len, self._idle.values()))

    async def aclose(self) -> None:
        """Close what is idle; answers under way belong to their readers."""
        for idle in self._idle.values():
            for connection in idle[:]:
                connection.abort()

    async def _connect(self, origin: "_Origin", idle: list["_Connection"], within_s: float) -> "_Connection":
        host, port, is_tls = origin
        if is_tls and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            async with asyncio.timeout(within_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(idle), host, port, ssl=self._tls if is_tls else None
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error
        except OSError as error:
            raise httpx.ConnectError("no connection") from error
        return connection


_Origin = tuple[str, int, bool]
"""Host, port, whether it is TLS."""


def _origin(url: httpx.URL) -> _Origin:
    is_tls = url.scheme == "https"
    return url.host, url.port or (443 if is_tls else 80), is_tls


def _to_bytes(request: httpx.Request) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%b: %b" % header for header in request.headers.raw]
    return b"\r\n".join((*lines, b"", request.content))


def _wake_one(idle: list["_Connection"]) -> "_Connection | None":
    while idle:
        connection = idle.pop()
        if connection.wake():
            return connection
    return None


class _Body(httpx.AsyncByteStream):
    """What has arrived since the last look, each time."""

    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self._connection.read()

    async def aclose(self) -> None:
        self._connection.end_exchange()


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time; methods without a docstring are callbacks of asyncio and httptools.

    Args:
        idle: Where the connection is to be found while it has nothing to do.

    """

    def __init__(self, idle: list["_Connection"]) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._idle = idle
        self._transport: asyncio.Transport
        self._new_future = asyncio.get_running_loop().create_future
        self._waiting: asyncio.Future[None] | None = None
        self._parser: httptools.HttpResponseParser
        self._is_busy = False  # with an exchange
        self._arrived: list[bytes] = []
        self._unread_bytes = 0
        self._is_paused = False
        self._has_headers = False
        self._is_complete = False
        self._can_be_kept = False
        self._ends_with_connection = False
        self._fault: httpx.TransportError | None = None
        self._end_of_rest: asyncio.TimerHandle | None = None

    async def send(self, request: bytes) -> None:
        """Send a request and wait until `status` and `headers` are those of its response."""
        self.headers, self._has_headers, self._is_complete = [], False, False
        self._is_busy, self._parser = True, httptools.HttpResponseParser(self)
        self._transport.write(request)
        while not self._has_headers:
            if self._fault is not None:
                raise self._fault
            self._waiting = self._new_future()
            await self._waiting

    async def read(self) -> bytes:
        """Return what has arrived of the body and was not read; wait if that is nothing.

        Raises:
            StopAsyncIteration: The body has ended.

        """
        while not self._arrived:
            if self._is_complete:
                raise StopAsyncIteration
            if self._fault is not None:
                raise self._fault
            self._waiting = self._new_future()
            await self._waiting
        data = self._arrived[0] if len(self._arrived) == 1 else b"".join(self._arrived)
        self._arrived.clear()
        self._unread_bytes = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    def end_exchange(self) -> None:
        """Keep the connection for the next exchange if the response is over, was read and lets us; else close it."""
        if not (self._is_complete and self._can_be_kept) or self._arrived or self._fault is not None:
            self.abort()
        elif self._is_busy:
            self._is_busy = False
            self._idle.append(self)
            self._end_of_rest = asyncio.get_running_loop().call_later(KEEPALIVE_S, self.abort)

    def wake(self) -> bool:
        """Stop being idle; False: the connection is being closed."""
        if self._end_of_rest is not None:
            self._end_of_rest.cancel()
        return self._fault is None

    def abort(self) -> None:
        """Close the connection at once; who waits for it is told."""
        self._break(httpx.ReadError("the connection was closed here"))

    def _tell(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _break(self, fault: httpx.TransportError) -> None:
        self._fault = self._fault or fault
        self._transport.abort()
        self._tell()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if not self._is_busy:
            self._break(httpx.RemoteProtocolError("an answer that nobody asked for"))
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break(httpx.RemoteProtocolError("an answer that is not HTTP"))
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        if self._has_headers and self._ends_with_connection and exc is None and self._fault is None:
            self._is_complete = True
        self._fault = self._fault or httpx.ReadError("the connection broke")
        self._tell()

    def on_message_begin(self) -> None:
        if self._has_headers:
            raise httptools.HttpParserError("two answers to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < _FIRST_FINAL_STATUS:
            self.headers = []
            return
        names = {name.lower() for name, _ in self.headers}
        self._ends_with_connection = not names & {b"content-length", b"transfer-encoding"}
        self._has_headers = True

    def on_body(self, body: bytes) -> None:
        self._arrived.append(body)
        self._unread_bytes += len(body)
        if self._unread_bytes > UNREAD_LIMIT_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._is_complete = self._has_headers
        self._can_be_kept = self._parser.should_keep_alive()  # which it forgets with the message
