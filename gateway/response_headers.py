"""The outermost layer: every response leaves with a request id and the security headers, whoever made it.

Litestar's own middleware sits behind its router and misses unknown paths, so this wraps the whole application.
A stream passes through here token by token; only its first message is touched.
"""

from collections.abc import Awaitable

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.request_id import choose_request_id, current_request_id
from gateway.security_headers import SECURITY_HEADERS
from shared.log import bound


class ResponseHeaders:
    """ASGI middleware that names the request and completes the response's headers."""

    def __init__(self, app: ASGIApp, *, request_id_header: str) -> None:
        self._app = app
        self._header = request_id_header.lower().encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; lifespan events pass untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = choose_request_id(scope["headers"], self._header)
        current_request_id.set(request_id)
        own = ((self._header, request_id.encode("ascii")), *SECURITY_HEADERS)

        # Not `async`: a coroutine of its own for every token of a stream would only pass the message on.
        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in own if pair[0] not in present)]
            return send(message)

        with bound(request_id=request_id):
            await self._app(scope, receive, send_with_headers)
