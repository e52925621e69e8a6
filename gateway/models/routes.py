"""`/v1/models`: what can be asked, and how long that takes to begin."""

from collections.abc import Sequence
from typing import Any

from litestar import Request, Router, get
from litestar.params import FromPath
from msgspec import Struct

from gateway.access import Access
from gateway.admission.admit import wait_ms
from gateway.admission.limited_routes import LimitByAddress
from gateway.dependencies import Injected
from gateway.models.catalog import ModelCatalog, unknown_model
from gateway.operation import Operation
from gateway.principal import Principal, RecognizePrincipal
from shared.errors import ModelNotFoundError, NoWorkerError


class ServingWorker(Struct, frozen=True):
    """A worker that serves a model."""

    loaded: bool  # whether it answers without loading the model first
    slots: int  # jobs of the model at once


class ModelState(Struct, frozen=True):
    """How things stand with a model."""

    model: str  # with tag
    workers: Sequence[ServingWorker]  # empty: jobs wait for one
    slots: int  # of all of them
    running: int  # jobs
    queue_depth: int  # jobs that wait
    estimated_wait_ms: int  # of a new job, if those that wait go first


@get("/", summary="List the models that live workers can serve", access=Access.PUBLIC)
async def list_models(request: Request[Principal | None, Any, Any], catalog: Injected[ModelCatalog]) -> list[str]:
    """Return the names of all models that a live worker can serve, sorted; with an API key, those that it is for."""
    principal = request.user
    return [model for model in catalog.served() if principal is None or principal.may_ask(model)]


@get(
    "/{model:path}",
    summary="Show how things stand with a model",
    access=Access.PUBLIC,
    free_path=True,
    operation=Operation(errors=[ModelNotFoundError, NoWorkerError]),
)
async def show_model_state(
    request: Request[Principal | None, Any, Any], model: FromPath[str], catalog: Injected[ModelCatalog]
) -> ModelState:
    """Return which workers serve a model, how many jobs of it run and wait, and how long a new one would wait.

    Its name may have slashes and a tag, escaped or not. A key that is not for it is told that it is not there.
    """
    name = model.removeprefix("/")
    if request.user is not None and not request.user.may_ask(name):
        raise unknown_model(name, [])
    resolved = catalog.resolve(name)
    backlog = await catalog.backlog_of(resolved)
    slots = catalog.registry.slots(resolved)
    return ModelState(
        model=resolved,
        workers=[
            ServingWorker(loaded=offer.loaded, slots=min(worker.slots, worker.max_jobs))
            for worker in catalog.live_workers()
            for offer in worker.models
            if offer.name == resolved
        ],
        slots=slots,
        running=backlog.running,
        queue_depth=backlog.waiting,
        estimated_wait_ms=wait_ms(backlog.waiting, backlog.service_ms, slots),
    )


model_routes = Router(
    "/v1/models",
    route_handlers=[list_models, show_model_state],
    middleware=[LimitByAddress, RecognizePrincipal],
    tags=["models"],
)
