"""Takes down what a request asks for: the job, what it needs of the limits, and how long it may wait."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
from litestar.types import Scope
from msgspec import Struct

from gateway.admission.limited_routes import charge_address
from gateway.admission.policy import LimitPolicy
from gateway.admission.settings import QueueSettings
from gateway.admission.token_estimate import TokenEstimate, estimate_tokens
from gateway.chat.disconnect import needs_readers
from gateway.chat.idempotency import idempotency_of
from gateway.chat.inference import Inference
from gateway.client_address import ClientAddress
from gateway.models.catalog import ModelCatalog
from gateway.principal import AuthenticatedRequest
from gateway.request_body import JsonBody
from gateway.request_id import current_request_id
from gateway.trace_context import traceparent_of
from shared import ids
from shared.database.turns import Turn
from shared.demand import Demand
from shared.errors import ForbiddenError, InvalidRequestError
from shared.idempotency import Idempotency
from shared.jobs import Job

Asked = TypeVar("Asked")

_encoder = msgspec.json.Encoder()


class Order(Struct, frozen=True):
    """What a request asks for."""

    job: Job
    demand: Demand
    idempotency: Idempotency | None
    queue_timeout_ms: int  # how long the job may wait
    needs_readers: bool  # whether it is cancelled when it has none
    grace_ms: int  # how long it goes on without any
    is_stream: bool  # whether it is answered piece by piece
    turn: Turn | None = None  # of the conversation that the job is to answer in


class OrderDesk:
    """Takes orders down.

    Args:
        catalog: Which models there are.
        limits: Which limits a request has to pass.
        client_address: Where a request comes from.
        settings: The operator's bounds.

    """

    def __init__(
        self,
        *,
        catalog: ModelCatalog,
        limits: LimitPolicy,
        client_address: ClientAddress,
        settings: QueueSettings,
    ) -> None:
        self._catalog = catalog
        self._limits = limits
        self._client_address = client_address
        self._settings = settings

    async def take(
        self,
        request: AuthenticatedRequest,
        body: JsonBody[Asked],
        translate: Callable[[Asked], Inference],
        *,
        surface: str,
    ) -> tuple[Asked, Inference, Order]:
        """Return what a client asks for in its own protocol and in Ollama's terms, and the order for it.

        The order lives as long as the answer, and holds neither. A faulty request is charged to its address.

        Args:
            request: Who asks, and by which headers.
            body: Reads its body.
            translate: Says the same in Ollama's terms.
            surface: Within which an `Idempotency-Key` is one, for example `/openai`.

        Raises:
            InvalidRequestError: As `JsonBody.read`, `translate` or `write` raises it.
            DeeperSensorError: What `write` raises besides.

        """
        async with faults_charged(request.scope):
            asked = await body.read(request)
            inference = translate(asked)
            idempotency = idempotency_of(request, inference.request, surface=surface)
            return asked, inference, self.write(request, inference, idempotency=idempotency)

    def write(
        self,
        request: AuthenticatedRequest,
        inference: Inference,
        *,
        idempotency: Idempotency | None,
        is_durable: bool = False,
        conversation_id: str | None = None,
    ) -> Order:
        """Return the order for what was read from a request.

        Args:
            request: Who asks, and by which headers.
            inference: For what.
            idempotency: What the request is known by; None: it is a job of its own.
            is_durable: Whether its job is to outlive Redis.
            conversation_id: Of the conversation that it answers in.

        Raises:
            InvalidRequestError: A timeout is too long, or more tokens are wanted than ever pass.
            ModelNotAllowedError: The API key is not for the model.
            ModelNotFoundError: Nobody has it.
            NoWorkerError: Nobody has it just now, and jobs may not wait.

        """
        settings, principal = self._settings, request.user
        principal.require_model(inference.request.model)
        model = self._catalog.resolve(inference.request.model)
        ollama_request = _encoder.encode(msgspec.structs.replace(inference.request, model=model))
        job = Job(
            id=ids.new_id(),
            kind=inference.kind,
            model=model,
            user_id=principal.user_id,
            request=ollama_request,
            request_id=current_request_id.get(),
            traceparent=traceparent_of(request.scope["headers"]),
            timeout_ms=_bounded("timeout_ms", inference.timeout_ms, settings.job_timeout_ms),
            calls_tools=inference.calls_tools,
            is_durable=is_durable,
            api_key_id=principal.key.id if principal.key else None,
            conversation_id=conversation_id,
            is_batch=principal.is_batch,
        )
        return Order(
            job=job,
            demand=self._limits.of_job(
                principal,
                self._client_address.of(request),
                estimate=_estimate(inference, ollama_request),
                stream_id=job.id if inference.is_stream else None,
            ),
            idempotency=idempotency,
            queue_timeout_ms=_bounded("queue_timeout_ms", inference.queue_timeout_ms, settings.queue_timeout_ms),
            needs_readers=needs_readers(request.scope),
            grace_ms=settings.disconnect_grace_secs * 1000 if inference.can_come_back or idempotency else 0,
            is_stream=inference.is_stream,
        )


@asynccontextmanager
async def faults_charged(scope: Scope) -> AsyncGenerator[None]:
    """Charge a request that turns out to be faulty inside to the address that it comes from.

    Raises:
        RateLimitedError: That has sent too many.

    """
    try:
        yield
    except (InvalidRequestError, ForbiddenError):
        await charge_address(scope)
        raise


def _estimate(inference: Inference, ollama_request: bytes) -> TokenEstimate:
    return estimate_tokens(
        text_bytes=len(ollama_request) - sum(map(len, inference.images)),
        images=len(inference.images),
        num_predict=inference.num_predict,
        prompt_param=inference.prompt_param,
        answer_param=inference.answer_param,
    )


def _bounded(name: str, wanted_ms: int | None, most_ms: int) -> int:
    if wanted_ms is None:
        return most_ms
    if wanted_ms > most_ms:
        raise InvalidRequestError(f"At most {most_ms} ms are allowed here.", param=name)
    return wanted_ms
