"""`/openai/v1`: what asks a model, as OpenAI's own clients ask it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Response, Router, post
from litestar.response import Stream
from msgspec import Struct

from gateway.access import Access
from gateway.chat.answering import ANSWER_HEADERS, Write, answer_in_pieces, answer_whole, asking
from gateway.chat.inference import Inference
from gateway.chat.submit import ChatDesk
from gateway.dependencies import Injected
from gateway.error_dialects import OPENAI
from gateway.openai_api.answers import ChatCompletion, TextCompletion, chat_completion, text_completion
from gateway.openai_api.chat_completions import to_chat
from gateway.openai_api.chat_schemas import ChatCompletionRequest
from gateway.openai_api.streams import AnswerStream, ChatStream, TextStream
from gateway.openai_api.text_completions import CompletionRequest, to_generate
from gateway.operation import JSON, Answer
from gateway.principal import AuthenticatedRequest, RequirePrincipal
from gateway.request_body import JsonBody
from shared.errors import UnsupportedParameterError
from shared.transcripts import transcribe

EVENT_STREAM = "text/event-stream"


class _Form(Struct, frozen=True):
    """The form of one kind of completions."""

    body: JsonBody[Any]  # of a kind of `Sampling`
    to_inference: Callable[[Any], Inference]  # that
    whole: Callable[..., Struct]
    stream: Callable[..., AnswerStream]


_CHAT = _Form(
    JsonBody(ChatCompletionRequest, may_carry_images=True, mends_text=True), to_chat, chat_completion, ChatStream
)
_TEXT = _Form(JsonBody(CompletionRequest, mends_text=True), to_generate, text_completion, TextStream)


def _answer(kind: type[Struct]) -> Answer:
    description = "The answer, or with `stream` server-sent events without a type, the last of them `[DONE]`."
    return Answer(description, kind, streams=EVENT_STREAM, headers=ANSWER_HEADERS)


@post(
    "/chat/completions",
    status_code=HTTPStatus.OK,
    summary="Ask a model as OpenAI's clients do",
    access=Access.CHAT,
    operation=asking(ChatCompletionRequest, _answer(ChatCompletion), errors=[UnsupportedParameterError]),
)
async def create_chat_completion(request: AuthenticatedRequest, chats: Injected[ChatDesk]) -> Response[Any]:
    """Return the answer as OpenAI's `POST /v1/chat/completions` does.

    In a stream, news of the queue and heartbeats are comments, and a failure after its beginning is an event with the
    error shape, after which neither anything else nor `[DONE]` comes. If the client goes away, the job is cancelled.
    """
    return await _complete(_CHAT, request, chats)


@post(
    "/completions",
    status_code=HTTPStatus.OK,
    summary="Have a prompt completed as OpenAI's clients do",
    access=Access.CHAT,
    operation=asking(CompletionRequest, _answer(TextCompletion), errors=[UnsupportedParameterError]),
)
async def create_completion(request: AuthenticatedRequest, chats: Injected[ChatDesk]) -> Response[Any]:
    """Return the text that completes a prompt as OpenAI's `POST /v1/completions` does, whole or as a stream.

    There is one answer to one prompt, which is as long as the model likes unless `max_tokens` says less.
    """
    return await _complete(_TEXT, request, chats)


async def _complete(form: _Form, request: AuthenticatedRequest, chats: ChatDesk) -> Response[Any] | Stream:
    asked, _, order = await chats.orders.take(request, form.body, form.to_inference, surface=OPENAI)
    if not asked.stream:
        answered = await answer_whole(request, order, chats)
        answer = form.whole(transcribe(answered.events), job_id=answered.job_id, model=asked.model)
        return Response(msgspec.json.encode(answer), media_type=JSON, status_code=HTTPStatus.OK)

    def begin(job_id: str) -> Write:
        return form.stream(job_id=job_id, model=asked.model, includes_usage=asked.includes_usage).frames

    return await answer_in_pieces(request, order, chats, begin, media_type=EVENT_STREAM)


openai_routes = Router(
    f"{OPENAI}/v1",
    route_handlers=[create_chat_completion, create_completion],
    middleware=[RequirePrincipal],
    tags=["openai"],
)
