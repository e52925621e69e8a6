"""`GET` and `HEAD /ollama`: what Ollama's clients look for before anything else."""

from http import HTTPStatus

from litestar import MediaType, Router, route

from gateway.access import Access
from gateway.admission.limited_routes import LimitByAddress
from gateway.error_dialects import OLLAMA
from gateway.health.routes import GET_OR_HEAD
from gateway.operation import Answer, Operation


@route(
    "/",
    http_method=GET_OR_HEAD,
    media_type=MediaType.TEXT,
    summary="Show that Ollama's API is here",
    access=Access.PUBLIC,
    operation=Operation(answers={HTTPStatus.OK: Answer("It is.", str, "text/plain")}),
    may_end_in_slash=True,
)
async def greet() -> str:
    """Say what Ollama says, by which its command tells that it has found one."""
    return "Ollama is running"


ollama_greeting_routes = Router(OLLAMA, route_handlers=[greet], middleware=[LimitByAddress], tags=["ollama"])
