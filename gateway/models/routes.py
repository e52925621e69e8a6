"""`GET /v1/models`: what can be asked."""

from litestar import Router, get

from gateway.access import Access
from gateway.admission.limited_routes import LimitByAddress
from gateway.dependencies import Injected
from gateway.models.catalog import ModelCatalog


@get("/", summary="List the models that live workers can serve", access=Access.PUBLIC, middleware=[LimitByAddress])
async def list_models(catalog: Injected[ModelCatalog]) -> list[str]:
    """Return the names of all models that a live worker can serve, sorted."""
    return catalog.served()


model_routes = Router("/v1/models", route_handlers=[list_models], tags=["models"])
