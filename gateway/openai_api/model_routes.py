"""`/openai/v1/models`: what can be asked, as OpenAI lists it."""

from collections.abc import Sequence
from typing import Any, Literal

from litestar import Request, Router, get
from litestar.params import FromPath
from msgspec import Struct

from gateway.access import Access
from gateway.admission.limited_routes import LimitByAddress
from gateway.dependencies import Injected
from gateway.models.catalog import ModelCatalog
from gateway.models.offers import find_offer, modified_s, offers_to
from gateway.operation import Operation
from gateway.principal import Principal, RecognizePrincipal
from shared.errors import ModelNotFoundError
from shared.registry import ModelOffer

OLLAMAS_OWN = "library"  # whose models are those without a namespace, as Ollama says it


class Model(Struct, frozen=True, kw_only=True):
    """One model."""

    id: str  # with tag
    object: Literal["model"] = "model"
    created: int  # when its Ollama got it, in seconds since 1970
    owned_by: str  # the namespace: of `hf.co/ada/tiny:q4` it is `ada`


class ModelList(Struct, frozen=True, kw_only=True):
    """The models."""

    object: Literal["list"] = "list"
    data: Sequence[Model]


@get("/", summary="List the models that live workers can serve, as OpenAI does", access=Access.PUBLIC)
async def list_openai_models(
    request: Request[Principal | None, Any, Any], catalog: Injected[ModelCatalog]
) -> ModelList:
    """Return all models that a live worker can serve, sorted; with an API key, those that it is for."""
    offers = sorted(offers_to(request.user, catalog), key=lambda offer: offer.name)
    return ModelList(data=[_to_model(offer) for offer in offers])


@get(
    "/{model:path}",
    summary="Show a model, as OpenAI does",
    access=Access.PUBLIC,
    free_path=True,
    operation=Operation(errors=[ModelNotFoundError]),
)
async def show_openai_model(
    request: Request[Principal | None, Any, Any], model: FromPath[str], catalog: Injected[ModelCatalog]
) -> Model:
    """Return one of them: by its name, slashes and tag included, escaped or not, or without the tag `latest`."""
    return _to_model(find_offer(model.removeprefix("/"), request.user, catalog))


def _to_model(offer: ModelOffer) -> Model:
    return Model(id=offer.name, created=modified_s(offer), owned_by=_namespace(offer.name))


def _namespace(name: str) -> str:
    return (name.rpartition("/")[0] or OLLAMAS_OWN).rpartition("/")[2]


openai_model_routes = Router(
    "/openai/v1/models",
    route_handlers=[list_openai_models, show_openai_model],
    middleware=[LimitByAddress, RecognizePrincipal],
    tags=["openai"],
)
