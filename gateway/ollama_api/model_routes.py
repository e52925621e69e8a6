"""`/ollama/api/tags`, `ps`, `show` and `version`: what workers say of their Ollamas, as one Ollama would say it."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, post, route
from msgspec import Meta, Raw, Struct

from gateway.access import Access
from gateway.admission.limited_routes import LimitByAddress
from gateway.dependencies import Injected
from gateway.health.routes import GET_OR_HEAD
from gateway.models.catalog import NO_WORKER_RETRY_S, ModelCatalog
from gateway.models.offers import find_offer, loaded_offers_to, lowest_version, offers_to
from gateway.operation import Answer, Operation
from gateway.principal import Principal, RecognizePrincipal
from gateway.request_body import JsonBody
from shared.errors import InvalidRequestError, ModelNotFoundError, NoWorkerError
from shared.registry import InMemory, ModelOffer

MaybeModelName = Annotated[  # which may be empty: Go's clients send fields that they do not fill
    str, Meta(max_length=256, pattern=r"^([A-Za-z0-9][A-Za-z0-9._:/-]*)?$(?!\n)")
]
Object = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
Details = Annotated[Object, Meta(description="Format, family, sizes, as Ollama tells them.")]


class ModelTag(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model."""

    name: str  # with tag
    model: str  # the same
    modified_at: str = ""
    size: int  # bytes on disk
    digest: str
    details: Details
    capabilities: Sequence[str] = ()


class ModelTags(Struct, frozen=True):
    """The models."""

    models: Sequence[ModelTag]


class LoadedModel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model that is in memory."""

    name: str  # with tag
    model: str  # the same
    size: int  # bytes in all
    digest: str
    details: Details
    expires_at: str = ""
    size_vram: int  # bytes on the GPU
    context_length: int  # tokens


class LoadedModels(Struct, frozen=True):
    """The models that are in memory."""

    models: Sequence[LoadedModel]


class ShowRequest(Struct, frozen=True):
    """The body of `POST /ollama/api/show`."""

    model: MaybeModelName | None = None
    name: MaybeModelName | None = None  # the older word for the same


class ModelDescription(Struct, frozen=True, omit_defaults=True):
    """What is known of a model, as Ollama tells it; of this there is the least, whatever else there is."""

    details: Details
    model_info: Object
    modified_at: str = ""
    capabilities: Sequence[str] = ()


class Version(Struct, frozen=True):
    """Of Ollama."""

    version: str


@route(
    "/tags",
    http_method=GET_OR_HEAD,
    summary="List the models that live workers can serve, as Ollama does",
    access=Access.PUBLIC,
)
async def list_tags(request: Request[Principal | None, Any, Any], catalog: Injected[ModelCatalog]) -> ModelTags:
    """Return all models that a live worker can serve, the latest first; with an API key, those that it is for."""
    return ModelTags([_to_tag(offer) for offer in offers_to(request.user, catalog)])


@route(
    "/ps",
    http_method=GET_OR_HEAD,
    summary="List the models that are in memory somewhere, as Ollama does",
    access=Access.PUBLIC,
)
async def list_loaded(request: Request[Principal | None, Any, Any], catalog: Injected[ModelCatalog]) -> LoadedModels:
    """Return each model that is in some live worker's memory once; with an API key, those that it is for."""
    offers = loaded_offers_to(request.user, catalog)
    return LoadedModels([_to_loaded(offer, offer.memory) for offer in offers if offer.memory])


@post(
    "/show",
    status_code=HTTPStatus.OK,
    summary="Show a model, as Ollama does",
    access=Access.PUBLIC,
    operation=Operation(
        body=ShowRequest,
        answers={HTTPStatus.OK: Answer("What is known of it.", ModelDescription)},
        errors=[ModelNotFoundError],
    ),
)
async def show_model(request: Request[Principal | None, Any, Any], catalog: Injected[ModelCatalog]) -> Response[Any]:
    """Return what Ollama knows of a model: template, parameters, license, capabilities, figures.

    It is what the first worker was told that had it; until that has come, what is known from lists.
    """
    asked = await _show_body.read(request)
    name = asked.model or asked.name
    if not name:
        raise InvalidRequestError("model is required", param="model")
    offer = find_offer(name, request.user, catalog)
    description = await catalog.description_of(offer)
    return Response(description or _from_lists(offer), media_type="application/json")


@route(
    "/version",
    http_method=GET_OR_HEAD,
    summary="Tell the version of Ollama",
    access=Access.PUBLIC,
    operation=Operation(errors=[NoWorkerError]),
)
async def show_version(catalog: Injected[ModelCatalog]) -> Version:
    """Return the lowest version among the live workers: what it can do, all of them can."""
    version = lowest_version(catalog)
    if version is None:
        raise NoWorkerError("No worker's Ollama is in reach just now.", retry_after_s=NO_WORKER_RETRY_S)
    return Version(version)


_show_body = JsonBody(ShowRequest, any_content_type=True)


def _to_tag(offer: ModelOffer) -> ModelTag:
    return ModelTag(
        name=offer.name,
        model=offer.name,
        modified_at=offer.modified_at,
        size=offer.size_bytes,
        digest=offer.digest,
        details=offer.details,
        capabilities=offer.capabilities,
    )


def _to_loaded(offer: ModelOffer, memory: InMemory) -> LoadedModel:
    return LoadedModel(
        name=offer.name,
        model=offer.name,
        size=memory.size_bytes,
        digest=offer.digest,
        details=offer.details,
        expires_at=memory.expires_at,
        size_vram=memory.size_vram_bytes,
        context_length=memory.context_length,
    )


def _from_lists(offer: ModelOffer) -> bytes:
    return msgspec.json.encode(
        ModelDescription(
            details=offer.details,
            model_info=Raw(b"{}"),  # many clients fail without it
            modified_at=offer.modified_at,
            capabilities=offer.capabilities,
        )
    )


ollama_model_routes = Router(
    "/ollama/api",
    route_handlers=[list_tags, list_loaded, show_model, show_version],
    middleware=[LimitByAddress, RecognizePrincipal],
    tags=["ollama"],
)
