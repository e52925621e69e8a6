"""`GET /v1/models`: what can be asked."""

from typing import Any

from litestar import Request, Router, get

from gateway.access import Access
from gateway.admission.limited_routes import LimitByAddress
from gateway.dependencies import Injected
from gateway.models.catalog import ModelCatalog
from gateway.principal import Principal, RecognizePrincipal


@get(
    "/",
    summary="List the models that live workers can serve",
    access=Access.PUBLIC,
    middleware=[LimitByAddress, RecognizePrincipal],
)
async def list_models(request: Request[Principal | None, Any, Any], catalog: Injected[ModelCatalog]) -> list[str]:
    """Return the names of all models that a live worker can serve, sorted; with an API key, those that it is for."""
    principal = request.user
    return [model for model in catalog.served() if principal is None or principal.may_ask(model)]


model_routes = Router("/v1/models", route_handlers=[list_models], tags=["models"])
