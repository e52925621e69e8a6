"""The outermost layer: every response leaves with a request id and the security headers, whoever made it.

Litestar's own middleware sits behind its router and misses unknown paths, so this wraps the whole application.
A stream passes through here token by token; only its first message is touched.
"""

from collections.abc import Awaitable, Mapping

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.request_id import choose_request_id, current_request_id
from gateway.security_headers import SECURITY_HEADERS
from shared.log import bound

_ADDED = "response_headers"


def add_response_headers(scope: Scope, headers: Mapping[str, str]) -> None:
    """Have the response carry `headers` too, be it what a handler returns or the error that is raised later on."""
    added: list[tuple[bytes, bytes]] = scope["state"][_ADDED]
    added.extend((name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items())


class ResponseHeaders:
    """ASGI middleware that names the request and completes the response's headers.

    A header that the response has already is left as it is.
    """

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
        added = [(self._header, request_id.encode("ascii"))]
        scope.setdefault("state", {})[_ADDED] = added

        # Not `async`: a coroutine of its own for every token of a stream would only pass the message on.
        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                present = {name.lower() for name, _ in headers}
                headers.extend(header for header in (*added, *SECURITY_HEADERS) if header[0] not in present)
                message["headers"] = headers
            return send(message)

        with bound(request_id=request_id):
            await self._app(scope, receive, send_with_headers)
