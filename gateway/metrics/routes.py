"""`GET /metrics`: the figures of this process and of all queues, for Prometheus."""

import hmac
from typing import Any

from litestar import Request, Response, Router, get
from litestar.status_codes import HTTP_200_OK
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.access import Access
from gateway.dependencies import Injected
from gateway.metrics.scrape import Scraper
from gateway.operation import Answer, Operation
from gateway.principal import bearer_token
from shared.errors import UnauthenticatedError


@get(
    "/",
    summary="Show figures for Prometheus",
    access=Access.OPERATOR,
    operation=Operation(
        answers={HTTP_200_OK: Answer("All metrics.", str, media_type="text/plain")}, errors=[UnauthenticatedError]
    ),
)
async def show_metrics(request: Request[Any, Any, Any], scraper: Injected[Scraper]) -> Response[bytes]:
    """Return the metrics as OpenMetrics or as Prometheus' text, whichever `Accept` prefers."""
    body, media_type = await scraper.scrape(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": media_type})


def metrics_routes(token: str) -> Router:
    """Return the route; with a token, only for who sends it."""

    def demand_token(app: ASGIApp) -> ASGIApp:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if not hmac.compare_digest(bearer_token(scope).encode(), token.encode()):
                raise UnauthenticatedError("This is not the token of METRICS_TOKEN.")
            await app(scope, receive, send)

        return guarded

    return Router(
        "/metrics", route_handlers=[show_metrics], middleware=[demand_token] if token else [], tags=["operators"]
    )
