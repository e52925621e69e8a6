"""What of Ollama's API is refused: all that changes which models there are."""

from typing import NoReturn

from litestar import Router, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.access import Access
from gateway.admission.limited_routes import LimitByUser
from gateway.error_dialects import OLLAMA
from gateway.operation import Operation
from gateway.principal import RequirePrincipal
from shared.errors import ForbiddenError, NotFoundError


def _refuse(act: str) -> NoReturn:
    raise ForbiddenError(f"Nobody can {act} here: the operators of this gateway manage its models.")


def _refused(method: HttpMethod, path: str, *, act: str) -> HTTPRouteHandler:
    async def refuse() -> None:
        """Refuse it to everybody, admins included: it is done beside Ollama, host by host."""
        _refuse(act)

    refuse.__name__ = f"refuse_to_{act.replace(' ', '_')}"
    return route(
        path,
        http_method=method,
        summary=f"Refuse to {act}",
        access=Access.ANY_CREDENTIAL,
        operation=Operation(answers={}, errors=[ForbiddenError]),
    )(refuse)


@route(
    "/blobs/{digest:str}",
    http_method=[HttpMethod.HEAD, HttpMethod.POST],
    summary="Refuse to bring a part of a model",
    access=Access.ANY_CREDENTIAL,
    operation=Operation(answers={}, errors=[ForbiddenError, NotFoundError]),
)
async def refuse_to_bring_a_part(digest: FromPath[str]) -> None:  # noqa: ARG001  declared for the OpenAPI document
    """Refuse it to everybody, as what it would be a part of."""
    _refuse("bring a part of a model")


ollama_refused_routes = Router(
    f"{OLLAMA}/api",
    route_handlers=[
        _refused(HttpMethod.POST, "/pull", act="pull a model"),
        _refused(HttpMethod.POST, "/push", act="push a model"),
        _refused(HttpMethod.POST, "/create", act="create a model"),
        _refused(HttpMethod.POST, "/copy", act="copy a model"),
        _refused(HttpMethod.DELETE, "/delete", act="delete a model"),
        refuse_to_bring_a_part,
    ],
    middleware=[RequirePrincipal, LimitByUser],
    tags=["ollama"],
)
