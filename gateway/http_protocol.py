"""Bounds what a client may do below the application: how much head, for how long, and only HTTP/1.

uvicorn alone takes heads of any size and age, and answers what is not HTTP in words of its own. Bodies pass through
here untouched. There is one timer per connection: until the first byte of a request, until the end of its head, or
until the end of a body whose answer is out already; and another one while a client takes nothing of its answer.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import cast

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.error_responses import status_of
from gateway.request_id import choose_request_id
from gateway.security_headers import SECURITY_HEADERS
from gateway.server_settings import ServerSettings
from shared import errors
from shared.errors import DeeperSensorError
from shared.events import ErrorBody, ErrorDetail
from shared.log import bound

MAX_HEAD_BYTES = 32 << 10  # request line and headers; they are held in memory before anybody is known
MAX_HEADERS = 100  # every layer looks through all of them
HTTP_STATUS_OF_BAD_HTTP = 400
METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_VERSIONS = frozenset({"1.0", "1.1"})

_log = logging.getLogger(__name__)


class HttpProtocol(HttpToolsProtocol):
    """One connection. `http_protocol` makes the class that uvicorn is given."""

    read_timeout_s: int
    write_timeout_s: int
    request_id_header: bytes

    _in_head = False
    _in_body = False
    _head_is_late = False  # it did not come in one piece
    _head_bytes = 0  # parsed
    _head_bytes_received = 0  # of a head whose end is not there yet
    _has_body_come = False  # with the bytes that are being parsed
    _bytes_beside_body = 0  # since the last piece of it: extensions of chunks, trailers
    _offers_upgrade = False
    _method = b""
    _refusal: DeeperSensorError | None = None  # why the parser was stopped
    _is_over = False  # the connection: whatever else comes is thrown away
    _end_of_patience: asyncio.TimerHandle | None = None  # with a client that takes nothing

    def connection_made(self, transport: object) -> None:  # type: ignore[override]  # as in uvicorn
        """Wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]  # as in uvicorn
        self._end_after(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._unset_keepalive_if_required()
        self._forgive()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to take something of its answer."""
        super().pause_writing()
        self._end_of_patience = self.loop.call_later(self.write_timeout_s, self._cut_off)

    def resume_writing(self) -> None:
        """Go on: the client has taken most of what was held here for it."""
        self._forgive()
        super().resume_writing()

    def shutdown(self) -> None:
        """Begin to drain."""
        if self._is_over:
            self.transport.close()
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        if self._is_over:
            return
        was_in_body = self._in_body
        self._has_body_come = False
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._end_with(self._refusal or _bad_http(error))
            return
        if self._in_head:
            self._watch_head(0 if was_in_body else len(data))
        elif was_in_body:
            self._watch_body(len(data))

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_head = True
        self._head_is_late = False
        self._head_bytes = self._head_bytes_received = self._bytes_beside_body = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request line."""
        self.url += url
        self._head_bytes += len(url)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop(_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers of a body are counted with them and thrown away."""
        # Runs once per header of every request, so nothing is called that need not be: that were 2 µs a request.
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop(_too_large())
        if len(self.headers) >= MAX_HEADERS:
            self._stop(errors.HeadersTooLargeError(f"There are more than {MAX_HEADERS} headers."))
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Hand the request over, unless its head is no good."""
        self._offers_upgrade = self.parser.should_upgrade()
        self._method = self.parser.get_method()
        if self._offers_upgrade and self._method != b"CONNECT":
            return
        self._check_head()
        self._unset_keepalive_if_required()
        self._in_head = False
        self._in_body = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._has_body_come = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request, if this one is answered already."""
        if self._offers_upgrade:
            return
        super().on_message_complete()
        self._in_body = False
        if self.cycle.response_complete:
            self._end_after(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the end of this one: not for ever, as its body may have none."""
        super().on_response_complete()
        if self.transport.is_closing() or not self.cycle.response_complete:
            return
        if self._in_head:
            self._end_after(self.read_timeout_s, self._end_slow_head)
        elif self._in_body:
            self._end_after(self.read_timeout_s, self.timeout_keep_alive_handler)

    def _feed(self, data: bytes) -> None:
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[cast("int", upgrade.args[0]) :]
                self._feed_head_without_upgrade()
            else:
                return

    def _feed_head_without_upgrade(self) -> None:
        """Parse the head again as one that offers nothing: llhttp takes a body behind an offer for the new protocol."""
        lines = [b"%b %b HTTP/%b" % (self._method, self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                kept = [token for token in value.split(b",") if token.strip().lower() != b"upgrade"]
                lines.append(b"connection: " + b",".join(kept))
            elif name != b"upgrade":
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _check_head(self) -> None:
        if self._method == b"CONNECT":
            self._stop(errors.MethodNotAllowedError("This is no proxy."))
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            self._stop(errors.InvalidRequestError("This server speaks HTTP/1.1."))
        hosts: list[bytes] = []
        for name, value in self.headers:
            if name == b"host":
                hosts.append(value)
            elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version == "1.0"):
                self._stop(errors.InvalidRequestError("The one transfer coding here is chunked, of HTTP/1.1."))
        if len(hosts) > 1 or (not hosts and version != "1.0"):
            self._stop(errors.InvalidRequestError("A request needs one Host header."))
        if hosts and not _HOST.fullmatch(hosts[0]):
            self._stop(errors.InvalidRequestError("The Host header is not well-formed."))

    def _stop(self, refusal: DeeperSensorError) -> None:
        """Stop the parser: it raises to `data_received`."""
        self._refusal = refusal
        raise refusal

    def _watch_head(self, received: int) -> None:
        self._head_bytes_received += received
        if self._head_bytes_received > MAX_HEAD_BYTES:
            self._end_with(_too_large())
        elif not self._head_is_late:
            self._head_is_late = True
            if self._is_idle():
                self._end_after(self.read_timeout_s, self._end_slow_head)

    def _watch_body(self, received: int) -> None:
        """Bound what the parser keeps of a trailer whose end is not there yet; request_body.py bounds the body."""
        self._bytes_beside_body = 0 if self._has_body_come else self._bytes_beside_body + received
        if self._bytes_beside_body > MAX_HEAD_BYTES:
            self._end_with(_too_large())

    def _is_idle(self) -> bool:
        """Return whether every request so far is answered."""
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    def _end_after(self, seconds: float, end: Callable[[], None]) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(seconds, end)

    def _end_slow_head(self) -> None:
        self._end_with(errors.RequestTimeoutError(f"The headers did not arrive within {self.read_timeout_s} s."))

    def _end_with(self, error: DeeperSensorError) -> None:
        """Answer, if that is still possible, and end the connection."""
        self._is_over = True
        if self._is_idle():
            self._answer(error)
        elif not self._in_body:
            self.cycle.keep_alive = False  # ends when the requests before this one are answered
        elif self.cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            self._answer(error)
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _forgive(self) -> None:
        if self._end_of_patience is not None:
            self._end_of_patience.cancel()

    def _cut_off(self) -> None:
        _log.info("client_too_slow", extra={"peer": self.client})
        self.transport.abort()  # closing would wait until all is taken

    def _answer(self, error: DeeperSensorError) -> None:
        """Send `error` and the end of the connection, and read on for a while.

        Closing with bytes unread resets the connection, and the client would never see the answer.
        """
        status = HTTP_STATUS_OF_BAD_HTTP if type(error) is errors.InvalidRequestError else status_of(type(error))
        request_id = choose_request_id(self.headers or (), self.request_id_header)
        body = msgspec.json.encode(
            ErrorBody(ErrorDetail(error.code, error.type, error.message, error.param, request_id))
        )
        headers = (
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *(((b"allow", METHODS),) if isinstance(error, errors.MethodNotAllowedError) else ()),
            (self.request_id_header, request_id.encode("ascii")),
            *SECURITY_HEADERS,
        )
        lines = (name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._end_after(self.read_timeout_s, self.timeout_keep_alive_handler)
        with bound(request_id=request_id):
            _log.info("request_refused", extra={"status": status, "code": error.code, "peer": self.client})


def http_protocol(settings: ServerSettings) -> type[HttpProtocol]:
    """Return the class of connections that keep to `settings`; their idle timeout is uvicorn's `timeout_keep_alive`."""

    class Configured(HttpProtocol):
        read_timeout_s = settings.server_read_timeout_secs
        write_timeout_s = settings.server_write_timeout_secs
        request_id_header = settings.request_id_header.lower().encode("ascii")

    return Configured


def _bad_http(error: httptools.HttpParserError) -> DeeperSensorError:
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return errors.MethodNotAllowedError("There is no such method here.")
    return errors.InvalidRequestError("This is not HTTP.")


def _too_large() -> DeeperSensorError:
    return errors.HeadersTooLargeError(f"Request line and headers are larger than {MAX_HEAD_BYTES} bytes.")
