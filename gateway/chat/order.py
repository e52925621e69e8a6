"""Takes down what a request for a chat asks for: the job, what it needs of the limits, and how long it may wait."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct

from gateway.access import Access
from gateway.admission.limited_routes import charge_address
from gateway.admission.policy import LimitPolicy
from gateway.admission.settings import QueueSettings
from gateway.admission.token_estimate import TokenEstimate, estimate_tokens
from gateway.chat.disconnect import needs_readers
from gateway.chat.history import History, PastMessage, history_of
from gateway.chat.idempotency import idempotency_of
from gateway.chat.schemas import ChatRequest, Message, OllamaChat
from gateway.client_address import ClientAddress
from gateway.models.catalog import ModelCatalog
from gateway.principal import AuthenticatedRequest, Principal
from gateway.request_body import JsonBody
from gateway.request_id import current_request_id
from gateway.trace_context import traceparent_of
from shared import ids
from shared.database.engine import Database
from shared.database.turns import Turn
from shared.demand import Demand
from shared.errors import ForbiddenError, InvalidRequestError, ModelNotAllowedError, StoreUnavailableError
from shared.idempotency import Idempotency
from shared.jobs import Job, JobKind

HISTORIES_AT_ONCE = 4  # in the hands of a process: a small request can ask for one of MAX_CHAT_REQUEST_SIZE_BYTES
HISTORY_WAITS_S = 2.0  # for its turn; a PostgreSQL that hangs must not make a queue

_encoder = msgspec.json.Encoder()


class Order(Struct, frozen=True):
    """What a request asks for."""

    job: Job
    demand: Demand
    idempotency: Idempotency | None
    queue_timeout_ms: int  # how long the job may wait
    needs_readers: bool  # whether it is cancelled when it has none
    grace_ms: int  # how long it goes on without any
    turn: Turn | None  # of the conversation that the job is to answer in


class OrderDesk:
    """Takes orders down.

    Args:
        body: Reads the request's body.
        catalog: Which models there are.
        database: Where conversations are.
        most_bytes: Longest history of a conversation, new messages included.
        limits: Which limits a request has to pass.
        client_address: Where a request comes from.
        settings: The operator's bounds.

    """

    def __init__(
        self,
        *,
        body: JsonBody[ChatRequest],
        catalog: ModelCatalog,
        database: Database,
        most_bytes: int,
        limits: LimitPolicy,
        client_address: ClientAddress,
        settings: QueueSettings,
    ) -> None:
        self._body = body
        self._catalog = catalog
        self._database = database
        self._most_bytes = most_bytes
        self._limits = limits
        self._client_address = client_address
        self._settings = settings
        self._histories = asyncio.Semaphore(HISTORIES_AT_ONCE)

    async def take(self, request: AuthenticatedRequest, *, is_stream: bool = False, is_durable: bool = False) -> Order:
        """Return what a request asks for; a faulty one is charged to the client's address.

        Args:
            request: With a `ChatRequest` as its body.
            is_stream: Whether it is answered by a stream.
            is_durable: Whether its job is to outlive Redis in any case.

        Raises:
            InvalidRequestError: The body is wrong, in one of the ways of `JsonBody.read`, or a timeout is too long,
                or the idempotency key is none, or the conversation is gone, or a job has yet to answer in it.
            InsufficientScopeError: The API key allows chats, but no conversations.
            ModelNotAllowedError: It is not for the model.
            ModelNotFoundError: Nobody has the model.
            NoWorkerError: Nobody has it just now, and jobs may not wait.
            StoreUnavailableError: The conversation is out of reach.

        """
        try:
            chat = await self._body.read(request)
            if chat.conversation_id is None:
                return await self._to_order(request, chat, is_stream=is_stream, is_durable=is_durable)
            async with self._room_for_history():
                return await self._to_order(request, chat, is_stream=is_stream, is_durable=True)
        except (InvalidRequestError, ForbiddenError):
            await charge_address(request.scope)
            raise

    @asynccontextmanager
    async def _room_for_history(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(HISTORY_WAITS_S):
                await self._histories.acquire()
        except TimeoutError:
            raise StoreUnavailableError("Conversations are out of reach just now.", retry_after_s=1) from None
        try:
            yield
        finally:
            self._histories.release()

    async def _to_order(
        self, request: AuthenticatedRequest, chat: ChatRequest, *, is_stream: bool, is_durable: bool
    ) -> Order:
        settings = self._settings
        if not request.user.may_ask(chat.model):
            raise ModelNotAllowedError(f"The API key is not for {chat.model!r}.", param="model")
        idempotency = idempotency_of(request, chat)
        history = await self._history_of(request.user, chat.conversation_id, is_new=idempotency is None)
        model = self._catalog.resolve(chat.model)
        messages = [*history.messages, *chat.messages] if history else chat.messages
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
            is_durable=is_durable,
            api_key_id=request.user.key.id if request.user.key else None,
            conversation_id=chat.conversation_id,
            is_batch=request.user.is_batch,
        )
        return Order(
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

    async def _history_of(self, principal: Principal, conversation_id: str | None, *, is_new: bool) -> History | None:
        if conversation_id is None:
            return None
        principal.authorize(Access.CONVERSATIONS)
        return await history_of(self._database, conversation_id, user_id=principal.user_id, is_new=is_new)


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
