"""Takes a chat from its request to the queue, and its reader from there to the end of the answer."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct

from gateway.admission.admit import Gate
from gateway.admission.attendance import LEASE_MS, Attendance
from gateway.admission.limited_routes import charge_address
from gateway.admission.policy import LimitPolicy
from gateway.admission.rate_limit import LimitState
from gateway.admission.settings import QueueSettings
from gateway.chat.queue_position import queued_notice
from gateway.chat.schemas import ChatRequest, OllamaChat
from gateway.chat.stream_links import StreamLinks
from gateway.client_address import ClientAddress
from gateway.metrics.reply_meter import ReplyMeter
from gateway.models.catalog import ModelCatalog
from gateway.principal import AuthenticatedRequest
from gateway.relay import Reader, Relay
from gateway.request_body import JsonBody
from gateway.request_id import current_request_id
from gateway.trace_context import traceparent_of
from shared import ids
from shared.errors import InvalidRequestError
from shared.job_queue import Place
from shared.jobs import Job, JobKind

_encoder = msgspec.json.Encoder()


class Submission(Struct, frozen=True):
    """An admitted job with its reader."""

    job: Job
    reader: Reader
    place: Place
    limits: tuple[LimitState, ...]


class ChatDesk:
    """Submits chats for the handlers.

    Args:
        relay: Where the events of jobs arrive.
        gate: The way into the queue.
        catalog: Which models there are.
        attendance: Where readers sign off.
        limits: Which limits a request spends from.
        client_address: Where a request comes from.
        body: Reads the request's body.
        links: Makes a stream's address known.
        settings: The operator's bounds.
        new_meter: Begins to measure a reply of a model.

    """

    def __init__(
        self,
        *,
        relay: Relay,
        gate: Gate,
        catalog: ModelCatalog,
        attendance: Attendance,
        limits: LimitPolicy,
        client_address: ClientAddress,
        body: JsonBody[ChatRequest],
        links: StreamLinks,
        settings: QueueSettings,
        new_meter: Callable[[str], ReplyMeter],
    ) -> None:
        self.grace_ms = settings.disconnect_grace_secs * 1000
        self._relay = relay
        self._gate = gate
        self._catalog = catalog
        self._attendance = attendance
        self._limits = limits
        self._client_address = client_address
        self._body = body
        self._links = links
        self._settings = settings
        self._new_meter = new_meter

    @asynccontextmanager
    async def submit(self, request: AuthenticatedRequest, *, grace_ms: int) -> AsyncGenerator[Submission]:
        """Enqueue a chat and read its job inside the block; leaving early counts as the reader's going away.

        Args:
            request: With a `ChatRequest` as its body.
            grace_ms: How long the job goes on without a reader.

        Raises:
            InvalidRequestError: The body is wrong, in one of the ways of `JsonBody.read`, or a timeout is too long;
                this is charged to the client's address.
            ModelNotFoundError: Nobody has the model.
            NoWorkerError: Nobody has it just now, and jobs may not wait.
            RateLimitedError: A rate limit is used up.
            QueueFullError: The model's queue is full.
            StoreUnavailableError: Redis is out of reach.

        """
        try:
            job, queue_timeout_ms = self._to_job(request, await self._body.read(request))
        except InvalidRequestError:
            await charge_address(request.scope)
            raise
        slots = self._catalog.registry.slots(job.model)
        meter = self._new_meter(job.model)
        # Reading begins before the job is in the queue, so that nothing live is missed.
        with self._relay.read(job.id, job.model, grace_ms=grace_ms, observe=meter.saw) as reader:
            place, limits = await self._gate.admit(
                job,
                limits=self._limits.of_user(job.user_id, self._client_address.of(request)),
                channel=self._relay.channel,
                slots=slots,
                queue_timeout_ms=queue_timeout_ms,
                unattended_ms=LEASE_MS,
                grace_ms=grace_ms,
            )
            try:
                yield Submission(job, reader, place, limits)
            finally:
                meter.left()
                if not reader.ended:
                    self._attendance.leave(job.id, grace_ms=grace_ms)

    def announce(self, submission: Submission) -> None:
        """Have the reader begin with `queued`; those who wait for a whole answer are told nothing on the way."""
        reader, job, place = submission.reader, submission.job, submission.place
        reader.told_position = place.position
        reader.stream_url = self._links.to(job.id, user_id=job.user_id)
        reader.begin_with(queued_notice(reader, place, slots=self._catalog.registry.slots(job.model)))

    def _to_job(self, request: AuthenticatedRequest, chat: ChatRequest) -> tuple[Job, int]:
        """Return the job that is asked for, and how long it may wait in ms."""
        model = self._catalog.resolve(chat.model)
        job = Job(
            id=ids.new_id(),
            kind=JobKind.CHAT,
            model=model,
            user_id=request.user.user_id,
            request=_to_ollama(chat, model),
            request_id=current_request_id.get(),
            traceparent=traceparent_of(request.scope["headers"]),
            timeout_ms=_bounded("timeout_ms", chat.timeout_ms, self._settings.job_timeout_ms),
            calls_tools=bool(chat.tools),
        )
        return job, _bounded("queue_timeout_ms", chat.queue_timeout_ms, self._settings.queue_timeout_ms)


def _to_ollama(request: ChatRequest, model: str) -> bytes:
    return _encoder.encode(
        OllamaChat(
            model=model,
            messages=request.messages,
            stream=True,
            options=request.options,
            format=request.format,
            tools=request.tools,
            think=request.think,
        )
    )


def _bounded(name: str, wanted_ms: int | None, most_ms: int) -> int:
    if wanted_ms is None:
        return most_ms
    if wanted_ms > most_ms:
        raise InvalidRequestError(f"At most {most_ms} ms are allowed here.", param=name)
    return wanted_ms
