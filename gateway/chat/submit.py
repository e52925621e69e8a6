"""Takes a chat from its request to the queue, and its reader from there to the end of the answer."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import msgspec
from msgspec import Struct

from gateway.access import Access
from gateway.admission.accept import DurableGate
from gateway.admission.admit import Admission, Gate
from gateway.admission.attendance import LEASE_MS, Attendance
from gateway.admission.limited_routes import charge_address
from gateway.admission.open_streams import OpenStreams
from gateway.admission.policy import LimitPolicy
from gateway.admission.rate_limit import LimitState
from gateway.admission.settings import QueueSettings
from gateway.admission.token_estimate import TokenEstimate, estimate_tokens
from gateway.chat.disconnect import needs_readers
from gateway.chat.history import History, PastMessage, history_of
from gateway.chat.idempotency import HEADER as KEY_HEADER
from gateway.chat.idempotency import idempotency_of
from gateway.chat.look_up import JobDesk
from gateway.chat.queue_position import queued_notice
from gateway.chat.resume import Resumption
from gateway.chat.schemas import ChatJob, ChatRequest, Message, OllamaChat
from gateway.chat.stream_links import StreamLinks
from gateway.client_address import ClientAddress
from gateway.metrics.reply_meter import ReplyMeter
from gateway.models.catalog import ModelCatalog
from gateway.principal import AuthenticatedRequest, Principal
from gateway.relay import Reader, Relay
from gateway.request_body import JsonBody
from gateway.request_id import current_request_id
from gateway.trace_context import traceparent_of
from shared import ids
from shared.database.engine import Database
from shared.database.turns import Turn
from shared.demand import Demand
from shared.errors import ForbiddenError, IdempotencyMismatchError, InvalidRequestError, ModelNotAllowedError
from shared.idempotency import Idempotency
from shared.jobs import Job, JobKind
from shared.verdicts import Place

_encoder = msgspec.json.Encoder()


class Submission(Struct, frozen=True):
    """An admitted job with its reader."""

    job_id: str
    reader: Reader
    limits: tuple[LimitState, ...]
    is_replay: bool  # whether the job was there already, for the same idempotency key


class Acceptance(Struct, frozen=True):
    """A job that will run."""

    job: ChatJob
    limits: tuple[LimitState, ...]
    is_replay: bool  # as in Submission


class _Order(Struct, frozen=True):
    """What a request asks for."""

    job: Job
    demand: Demand
    idempotency: Idempotency | None
    queue_timeout_ms: int  # how long the job may wait
    needs_readers: bool  # whether it is cancelled when it has none
    grace_ms: int  # how long it goes on without any
    turn: Turn | None  # of the conversation that the job is to answer in


class ChatDesk:
    """Submits chats for the handlers.

    Args:
        relay: Where the events of jobs arrive.
        gate: The way into the queue.
        durable_gate: The way into it by PostgreSQL.
        jobs: Tells how jobs stand.
        catalog: Which models there are.
        attendance: Where readers sign off.
        open_streams: Where streams are kept open.
        resumption: Reads jobs that are there already.
        database: Where conversations are.
        most_bytes: Longest history of a conversation, new messages included.
        limits: Which limits a request has to pass.
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
        durable_gate: DurableGate,
        jobs: JobDesk,
        catalog: ModelCatalog,
        attendance: Attendance,
        open_streams: OpenStreams,
        resumption: Resumption,
        database: Database,
        most_bytes: int,
        limits: LimitPolicy,
        client_address: ClientAddress,
        body: JsonBody[ChatRequest],
        links: StreamLinks,
        settings: QueueSettings,
        new_meter: Callable[..., ReplyMeter],
    ) -> None:
        self._relay = relay
        self._gate = gate
        self._durable_gate = durable_gate
        self._jobs = jobs
        self._catalog = catalog
        self._attendance = attendance
        self._open_streams = open_streams
        self._resumption = resumption
        self._database = database
        self._most_bytes = most_bytes
        self._limits = limits
        self._client_address = client_address
        self._body = body
        self._links = links
        self._settings = settings
        self._new_meter = new_meter

    @asynccontextmanager
    async def submit(self, request: AuthenticatedRequest, *, is_stream: bool) -> AsyncGenerator[Submission]:
        """Enqueue a chat and read its job inside the block; leaving early counts as the reader's going away.

        A chat in a conversation is accepted as by `accept`: its job needs no reader. A request whose idempotency key
        stands for a job already reads that one, from its start.

        Args:
            request: With a `ChatRequest` as its body.
            is_stream: Whether the reader is shown its place in the queue, and can go on after a disconnect; a client
                that waits for a whole answer can do so if it has sent an idempotency key.

        Raises:
            InvalidRequestError: The body is wrong, in one of the ways of `JsonBody.read`, or a timeout is too long,
                or the idempotency key is none or stands for another request, or the conversation is gone, is too long,
                or has yet to be answered in; this is charged to the client's address.
            InsufficientScopeError: The API key allows chats, but no conversations; this is charged as well.
            ModelNotAllowedError: The caller's API key is not for the model; and so is this.
            ModelNotFoundError: Nobody has the model.
            NoWorkerError: Nobody has it just now, and jobs may not wait.
            RateLimitedError: A rate limit is used up.
            ConcurrencyLimitedError: There are as many jobs or streams as there may be.
            QueueFullError: The model's queue is full.
            StoreUnavailableError: Redis is out of reach.

        """
        try:
            order = await self._to_order(request, await self._body.read(request), is_stream=is_stream)
        except (InvalidRequestError, ForbiddenError):
            await charge_address(request.scope)
            raise
        job = order.job
        meter = self._new_meter(job.model, counts=not job.is_durable)
        # Reading begins before the job is in the queue, so that nothing live is missed.
        with self._relay.read(job.id, job.model, grace_ms=order.grace_ms, observe=meter.saw) as reader:
            admission = await self._enqueue(request, order)
            if admission.place is not None:
                reader.is_durable = job.is_durable
                reader.resubmit = None if job.is_durable else self._resubmission(order)
                if is_stream:
                    self._announce(reader, admission.place, request.user)
                try:
                    with self._open_streams.sending(order.demand):
                        yield Submission(job.id, reader, admission.limits, is_replay=False)
                finally:
                    meter.left()
                    if not reader.ended:
                        self._attendance.leave(job.id, grace_ms=order.grace_ms)
                return
        with self._open_streams.sending(order.demand):
            place = await self._resumption.find(admission.job_id, user_id=job.user_id)
            stream_url = self._links.to(admission.job_id, credential=request.user.credential)
            async with self._resumption.read(place, stream_url=stream_url) as reader:
                yield Submission(admission.job_id, reader, admission.limits, is_replay=True)

    async def accept(self, request: AuthenticatedRequest) -> Acceptance:
        """Accept a chat as a job that runs to its end whoever reads it, and outlives Redis.

        Raises:
            UnauthenticatedError: The user is gone.
            StoreUnavailableError: Redis or PostgreSQL is out of reach.
            DeeperSensorError: What `submit` raises besides.

        """
        try:
            order = await self._to_order(request, await self._body.read(request), is_durable=True)
        except (InvalidRequestError, ForbiddenError):
            await charge_address(request.scope)
            raise
        job = order.job
        admission = await self._enqueue(request, order)
        if admission.place is None:
            found = await self._jobs.find(admission.job_id, request.user)
            if not found.is_durable:
                raise IdempotencyMismatchError("This key was sent with a request for an answer.", param=KEY_HEADER)
            return Acceptance(found, admission.limits, is_replay=True)
        accepted = self._jobs.of_new(job, request.user, position=admission.place.position)
        return Acceptance(accepted, admission.limits, is_replay=False)

    async def _enqueue(self, request: AuthenticatedRequest, order: _Order) -> Admission:
        try:
            return await self._pass_gate(order)
        except InvalidRequestError:
            await charge_address(request.scope)
            raise

    async def _pass_gate(self, order: _Order) -> Admission:
        job = order.job
        slots = self._catalog.registry.slots(job.model)
        if job.is_durable:
            return await self._durable_gate.accept(
                job,
                demand=order.demand,
                channel=self._relay.channel,
                slots=slots,
                queue_timeout_ms=order.queue_timeout_ms,
                idempotency=order.idempotency,
                turn=order.turn,
            )
        return await self._gate.admit(
            job,
            demand=order.demand,
            channel=self._relay.channel,
            slots=slots,
            queue_timeout_ms=order.queue_timeout_ms,
            unattended_ms=LEASE_MS if order.needs_readers else 0,
            grace_ms=order.grace_ms,
            idempotency=order.idempotency,
        )

    def _resubmission(self, order: _Order) -> Callable[[], Awaitable[None]]:
        return partial(
            self._gate.resubmit,
            order.job,
            demand=order.demand,
            channel=self._relay.channel,
            queue_timeout_ms=order.queue_timeout_ms,
            unattended_ms=LEASE_MS if order.needs_readers else 0,
            grace_ms=order.grace_ms,
            idempotency=order.idempotency,
            admitted_at_s=asyncio.get_running_loop().time(),
        )

    def _announce(self, reader: Reader, place: Place, principal: Principal) -> None:
        """Have the reader begin with `queued`."""
        reader.told_position = place.position
        reader.stream_url = self._links.to(reader.job_id, credential=principal.credential)
        reader.begin_with(queued_notice(reader, place, slots=self._catalog.registry.slots(reader.model)))

    async def _to_order(
        self, request: AuthenticatedRequest, chat: ChatRequest, *, is_stream: bool = False, is_durable: bool = False
    ) -> _Order:
        settings = self._settings
        if not request.user.may_ask(chat.model):
            raise ModelNotAllowedError(f"The API key is not for {chat.model!r}.", param="model")
        model = self._catalog.resolve(chat.model)
        idempotency = idempotency_of(request, chat)
        history = await self._history_of(request.user, chat.conversation_id)
        messages = [*(history.messages if history else ()), *chat.messages]
        ollama_chat = _to_ollama(chat, model, messages)
        job = Job(
            id=ids.new_id(),
            kind=JobKind.CHAT,
            model=model,
            user_id=request.user.user_id,
            request=ollama_chat,
            request_id=current_request_id.get(),
            traceparent=traceparent_of(request.scope["headers"]),
            timeout_ms=_bounded("timeout_ms", chat.timeout_ms, settings.job_timeout_ms),
            calls_tools=bool(chat.tools),
            is_durable=is_durable or history is not None,
            api_key_id=request.user.key.id if request.user.key else None,
            conversation_id=chat.conversation_id,
            is_batch=request.user.is_batch,
        )
        return _Order(
            job=job,
            demand=self._limits.of_job(
                request.user,
                self._client_address.of(request),
                estimate=_estimate(chat, messages, ollama_chat),
                stream_id=job.id if is_stream else None,
            ),
            idempotency=idempotency,
            queue_timeout_ms=_bounded("queue_timeout_ms", chat.queue_timeout_ms, settings.queue_timeout_ms),
            needs_readers=needs_readers(request.scope),
            grace_ms=settings.disconnect_grace_secs * 1000 if is_stream or idempotency else 0,
            turn=history and history.turn(chat.messages, is_too_long=len(ollama_chat) > self._most_bytes),
        )

    async def _history_of(self, principal: Principal, conversation_id: str | None) -> History | None:
        if conversation_id is None:
            return None
        principal.authorize(Access.CONVERSATIONS)
        return await history_of(self._database, conversation_id, user_id=principal.user_id)


def _estimate(chat: ChatRequest, messages: Sequence[Message | PastMessage], request: bytes) -> TokenEstimate:
    images = [image for message in messages if message.images for image in message.images]
    return estimate_tokens(
        text_bytes=len(request) - sum(map(len, images)),
        images=len(images),
        num_predict=chat.options.num_predict if chat.options else None,
    )


def _to_ollama(request: ChatRequest, model: str, messages: Sequence[Message | PastMessage]) -> bytes:
    return _encoder.encode(
        OllamaChat(
            model=model,
            messages=messages,
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
