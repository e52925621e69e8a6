"""Lets pages of other origins read answers, as far as the operator names them (CORS)."""

from http import HTTPStatus

from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from gateway.response_headers import add_response_headers

METHODS = "GET, POST, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, X-On-Disconnect"
ANSWER_HEADERS = "Idempotent-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, X-Job-Id"
PREFLIGHT_KEPT_S = 600


class CrossOrigin:
    """ASGI middleware inside `ResponseHeaders`; cookies are never asked for, so no credentials are allowed.

    It answers preflights itself: they come without the token that a route would ask for.

    Args:
        app: What answers.
        allowed_origins: As browsers write them: `https://app.example.org`.
        request_id_header: Which pages may send and read.

    """

    def __init__(self, app: ASGIApp, *, allowed_origins: frozenset[str], request_id_header: str) -> None:
        self._app = app
        self._allowed = frozenset(origin.encode() for origin in allowed_origins)
        self._answer = {
            "Vary": "Origin",
            "Access-Control-Expose-Headers": f"{ANSWER_HEADERS}, {request_id_header}",
        }
        self._preflight = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": f"{REQUEST_HEADERS}, {request_id_header}",
            "Access-Control-Max-Age": str(PREFLIGHT_KEPT_S),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; lifespan events pass untouched."""
        if scope["type"] == "http":
            origin = next((value for name, value in scope["headers"] if name == b"origin"), b"")
            if origin in self._allowed:
                add_response_headers(scope, {"Access-Control-Allow-Origin": origin.decode("ascii"), **self._answer})
                if _is_preflight(scope):
                    add_response_headers(scope, self._preflight)
                    await _answer_empty(send)
                    return
        await self._app(scope, receive, send)


def _is_preflight(scope: HTTPScope) -> bool:
    asks = (name == b"access-control-request-method" for name, _ in scope["headers"])
    return scope["method"] == "OPTIONS" and any(asks)


async def _answer_empty(send: Send) -> None:
    await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
