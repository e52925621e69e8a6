"""Refuses what came by plain HTTP, where the operator wants that (`FORCE_HTTPS`).

Refused, not redirected: a client that is redirected goes on sending its key in the clear, and nobody notices. Nothing
of the request is looked at, so that the answer is the same for a key that is good and one that is not.
"""

from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.client_address import ClientAddress
from gateway.error_dialects import dialect_of
from gateway.error_responses import describe, status_of
from shared.errors import HttpsRequiredError

EXEMPT = frozenset({"/health", "/health/ready"})  # probes come from the same machine or network, without a credential


class RequireHttps:
    """ASGI middleware around everything that answers with more than whether the process is well."""

    def __init__(self, app: ASGIApp, client_address: ClientAddress) -> None:
        self._app = app
        self._client_address = client_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; lifespan events pass untouched."""
        if scope["type"] != "http" or scope["path"] in EXEMPT or self._client_address.came_by_https(scope):
            await self._app(scope, receive, send)
        else:
            await _refuse(scope["path"], send)


async def _refuse(path: str, send: Send) -> None:
    error = HttpsRequiredError("Use https. A key or token that was sent by http can have been read: replace it.")
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status_of(HttpsRequiredError), "headers": headers})
    await send(
        {"type": "http.response.body", "body": dialect_of(path).write(describe(error).error), "more_body": False}
    )
