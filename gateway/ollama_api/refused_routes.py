"""What of Ollama's API is refused: all that changes which models there are."""

from litestar import Router, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from gateway.access import Access
from gateway.admission.limited_routes import LimitByUser
from gateway.error_dialects import OLLAMA
from gateway.operation import Operation
from gateway.principal import RequirePrincipal
from shared.errors import ForbiddenError

_BLOB = "/blobs/{digest:str}"


def _refused(method: HttpMethod, path: str, *, act: str) -> HTTPRouteHandler:
    async def refuse() -> None:
        """Refuse it to everybody, admins included: it is done beside Ollama, and there it is done to one host."""
        raise ForbiddenError(f"Nobody can {act} here: the operators of this gateway manage its models.")

    refuse.__name__ = f"refuse_to_{act.replace(' ', '_')}"
    return route(
        path,
        http_method=method,
        summary=f"Refuse to {act}",
        access=Access.ANY_CREDENTIAL,
        operation=Operation(answers={}, errors=[ForbiddenError]),
    )(refuse)


refused_routes = Router(
    f"{OLLAMA}/api",
    route_handlers=[
        _refused(HttpMethod.POST, "/pull", act="pull a model"),
        _refused(HttpMethod.POST, "/push", act="push a model"),
        _refused(HttpMethod.POST, "/create", act="create a model"),
        _refused(HttpMethod.POST, "/copy", act="copy a model"),
        _refused(HttpMethod.DELETE, "/delete", act="delete a model"),
        _refused(HttpMethod.POST, _BLOB, act="bring a part of a model"),
        _refused(HttpMethod.HEAD, _BLOB, act="look for a part of a model"),
    ],
    middleware=[RequirePrincipal, LimitByUser],
    tags=["ollama"],
)
