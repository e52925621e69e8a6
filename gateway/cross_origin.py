"""Lets pages of other origins read answers, exactly as far as the operator says (CORS)."""

from http import HTTPStatus
from typing import Annotated, Self

from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send
from msgspec import Meta, Struct

from gateway.response_headers import add_response_headers
from shared.settings import SettingsError

METHODS = "GET, POST, PATCH, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, traceparent, X-On-Disconnect"
# What the official clients of OpenAI and Ollama add to each request, in browsers too, and what nobody reads here: a
# preflight that leaves one of them out keeps the whole client away. Ollama's own list, and OpenAI's organisations.
CLIENT_HEADERS = (
    "Accept, User-Agent, X-Requested-With, OpenAI-Beta, OpenAI-Organization, OpenAI-Project, X-Stainless-Arch, "
    "X-Stainless-Async, X-Stainless-Custom-Poll-Interval, X-Stainless-Helper-Method, X-Stainless-Lang, "
    "X-Stainless-OS, X-Stainless-Package-Version, X-Stainless-Poll-Helper, X-Stainless-Retry-Count, "
    "X-Stainless-Runtime, X-Stainless-Runtime-Version, X-Stainless-Timeout"
)
ANSWER_HEADERS = (
    "Idempotent-Replayed, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, X-Job-Id, "
    "X-RateLimit-Limit-Requests, X-RateLimit-Limit-Tokens, X-RateLimit-Remaining-Requests, "
    "X-RateLimit-Remaining-Tokens, X-RateLimit-Reset-Requests, X-RateLimit-Reset-Tokens, X-Should-Retry"
)
PREFLIGHT_KEPT_S = 600
EVERY_ORIGIN = "*"
NOBODY = b"null"  # sandboxed frames, files and redirects have it: whoever wants it

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}  # which browsers leave out
_NAMES = Meta(
    pattern=r"^([A-Za-z0-9*_-]+(, *[A-Za-z0-9*_-]+)*)?$(?!\n)", extra={"expected": "names, separated by commas"}
)


class CrossOriginSettings(Struct, frozen=True):
    """Which pages of other origins may use the API."""

    allowed_origins: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/\s,*]+(, *https?://[^/\s,*]+)*|\*)?$(?!\n)",
            extra={"expected": "origins without a path, separated by commas, or * alone"},
            description="Origins whose pages may read answers (CORS), separated by commas; *: all; unset: none.",
            examples=["https://app.example.org"],
        ),
    ] = ""
    cors_allow_credentials: Annotated[
        bool,
        Meta(
            description="Whether browsers may add cookies or certificates, which a proxy may want; the API wants none.",
            examples=["true"],
        ),
    ] = False
    cors_allow_methods: Annotated[
        str, _NAMES, Meta(description="Methods that those pages may use.", examples=["GET, POST"])
    ] = METHODS
    cors_allow_headers: Annotated[
        str,
        _NAMES,
        Meta(
            description="Headers that they may send; unset: all that the API takes and official clients add.",
            examples=["Authorization, Content-Type"],
        ),
    ] = ""
    cors_expose_headers: Annotated[
        str,
        _NAMES,
        Meta(
            description="Headers of answers that they may read; unset: all that the API adds.",
            examples=["Retry-After"],
        ),
    ] = ""

    @property
    def origins(self) -> frozenset[str]:
        """`ALLOWED_ORIGINS`, one by one, as browsers write them."""
        return frozenset(map(_as_browsers_write_it, filter(None, map(str.strip, self.allowed_origins.split(",")))))

    def checked(self) -> Self:
        """Return these settings.

        Raises:
            SettingsError: Credentials and `*` go together nowhere: any page could act as whoever looks at it.

        """
        if self.cors_allow_credentials:
            for variable in ("allowed_origins", "cors_allow_methods", "cors_allow_headers", "cors_expose_headers"):
                if "*" in getattr(self, variable):
                    raise SettingsError(
                        f"{variable.upper()}=* goes not with CORS_ALLOW_CREDENTIALS=true: name them one by one. "
                        "Example: CORS_ALLOW_CREDENTIALS=false"
                    )
        return self


def _as_browsers_write_it(origin: str) -> str:
    scheme, _, _ = origin.lower().partition(":")
    return origin.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))


class CrossOrigin:
    """ASGI middleware inside `ResponseHeaders`, for operators who allow any origin at all.

    It answers preflights itself: they come without the token that a route would ask for.

    Args:
        app: What answers.
        settings: What is allowed.
        request_id_header: Which pages may send and read, unless the settings name headers.

    """

    def __init__(self, app: ASGIApp, settings: CrossOriginSettings, *, request_id_header: str) -> None:
        self._app = app
        self._allowed = frozenset(origin.encode() for origin in settings.origins)
        self._allows_all = EVERY_ORIGIN in settings.origins
        # An answer that is kept for one origin must not be shown to another, also one that was not allowed or none.
        self._always = {"Vary": "Origin"}
        self._answer = {
            "Access-Control-Expose-Headers": settings.cors_expose_headers or f"{ANSWER_HEADERS}, {request_id_header}",
            **({"Access-Control-Allow-Credentials": "true"} if settings.cors_allow_credentials else {}),
        }
        self._preflight = {
            "Access-Control-Allow-Methods": settings.cors_allow_methods,
            "Access-Control-Allow-Headers": settings.cors_allow_headers
            or f"{REQUEST_HEADERS}, {CLIENT_HEADERS}, {request_id_header}",
            "Access-Control-Max-Age": str(PREFLIGHT_KEPT_S),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; lifespan events pass untouched."""
        if scope["type"] == "http":
            add_response_headers(scope, self._always)
            if origin := self._allowed_origin(scope):
                add_response_headers(scope, {"Access-Control-Allow-Origin": origin, **self._answer})
                if _is_preflight(scope):
                    add_response_headers(scope, self._preflight)
                    await _answer_empty(send)
                    return
        await self._app(scope, receive, send)

    def _allowed_origin(self, scope: HTTPScope) -> str:
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if len(origins) != 1 or origins[0] == NOBODY:
            return ""
        if self._allows_all:
            return EVERY_ORIGIN
        return origins[0].decode("ascii") if origins[0] in self._allowed else ""


def _is_preflight(scope: HTTPScope) -> bool:
    asks = (name == b"access-control-request-method" for name, _ in scope["headers"])
    return scope["method"] == "OPTIONS" and any(asks)


async def _answer_empty(send: Send) -> None:
    await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
