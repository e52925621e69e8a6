"""Takes down what `POST /v1/chat` and `/v1/chat/stream` ask for, with the history of a conversation."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from msgspec import structs

from gateway.access import Access
from gateway.chat.history import History, PastMessage, history_of
from gateway.chat.idempotency import idempotency_of
from gateway.chat.inference import Inference
from gateway.chat.ollama_requests import OllamaChat
from gateway.chat.order import Order, faults_charged
from gateway.chat.schemas import ChatRequest, Message
from gateway.chat.submit import ChatDesk
from gateway.principal import AuthenticatedRequest, Principal
from gateway.request_body import JsonBody
from shared.database.engine import Database
from shared.errors import StoreUnavailableError

SURFACE = "/v1"  # the whole answer and the stream share their idempotency keys
HISTORIES_AT_ONCE = 4  # in the hands of a process: a small request can ask for one of MAX_CHAT_REQUEST_SIZE_BYTES
HISTORY_WAITS_S = 2.0  # for its turn; a PostgreSQL that hangs must not make a queue


class NativeDesk:
    """Takes orders down that come by the native surface.

    Args:
        chats: Takes down what they ask of a model; where they are submitted.
        body: Reads the request's body.
        database: Where conversations are.
        most_bytes: Longest history of a conversation, new messages included.

    """

    def __init__(self, *, chats: ChatDesk, body: JsonBody[ChatRequest], database: Database, most_bytes: int) -> None:
        self.chats = chats  # for handlers: one dependency costs 4 µs, two cost 50
        self._body = body
        self._database = database
        self._most_bytes = most_bytes
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
            StoreUnavailableError: The conversation is out of reach.
            DeeperSensorError: What `OrderDesk.write` raises besides.

        """
        async with faults_charged(request.scope):
            chat = await self._body.read(request)
            if chat.conversation_id is None:
                idempotency = idempotency_of(request, chat, surface=SURFACE)
                inference = _to_inference(chat, chat.messages, is_stream=is_stream)
                return self.chats.orders.write(request, inference, idempotency=idempotency, is_durable=is_durable)
            async with self._room_for_history():
                return await self._in_conversation(request, chat, chat.conversation_id, is_stream=is_stream)

    async def _in_conversation(
        self, request: AuthenticatedRequest, chat: ChatRequest, conversation_id: str, *, is_stream: bool
    ) -> Order:
        request.user.require_model(chat.model)
        idempotency = idempotency_of(request, chat, surface=SURFACE)
        history = await self._history_of(request.user, conversation_id, is_new=idempotency is None)
        order = self.chats.orders.write(
            request,
            _to_inference(chat, [*history.messages, *chat.messages], is_stream=is_stream),
            idempotency=idempotency,
            is_durable=True,
            conversation_id=conversation_id,
        )
        is_too_long = len(order.job.request) > self._most_bytes
        return structs.replace(order, turn=history.turn(chat.messages, is_too_long=is_too_long))

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

    async def _history_of(self, principal: Principal, conversation_id: str, *, is_new: bool) -> History:
        principal.authorize(Access.CONVERSATIONS)
        return await history_of(self._database, conversation_id, user_id=principal.user_id, is_new=is_new)


def _to_inference(chat: ChatRequest, messages: Sequence[Message | PastMessage], *, is_stream: bool) -> Inference:
    return Inference(
        request=OllamaChat(
            model=chat.model,
            messages=messages,
            stream=True,
            options=chat.options,
            format=chat.format,
            tools=chat.tools,
            think=chat.think,
        ),
        is_stream=is_stream,
        can_come_back=is_stream,
        images=[image for message in messages if message.images for image in message.images],
        num_predict=chat.options.num_predict if chat.options else None,
        calls_tools=bool(chat.tools),
        timeout_ms=chat.timeout_ms,
        queue_timeout_ms=chat.queue_timeout_ms,
    )
