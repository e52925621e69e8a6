"""`/ollama/api`: what asks a model, as Ollama's own clients ask it."""

from http import HTTPStatus

from litestar import Router, post
from msgspec import Struct

from gateway.access import Access
from gateway.chat.answering import ANSWER_HEADERS, asking
from gateway.chat.submit import ChatDesk
from gateway.dependencies import Injected
from gateway.error_dialects import OLLAMA
from gateway.ollama_api.answers import OllamaChatAnswer, OllamaGenerateAnswer
from gateway.ollama_api.asking import NDJSON, Answering, Call, ask
from gateway.ollama_api.bodies import body_of
from gateway.ollama_api.chat_schemas import OllamaChatRequest
from gateway.ollama_api.generate_schemas import OllamaGenerateRequest
from gateway.ollama_api.lines import CHAT, GENERATE
from gateway.ollama_api.to_ollama import to_chat, to_generation
from gateway.operation import Answer
from gateway.principal import AuthenticatedRequest, RequirePrincipal

_CHAT = Call(body_of(OllamaChatRequest), to_chat, CHAT)
_GENERATE = Call(body_of(OllamaGenerateRequest), to_generation, GENERATE)


def _lines_of(kind: type[Struct]) -> Answer:
    return Answer(
        "A line of these for each piece of the answer; with `stream: false` one for all of it.",
        kind,
        streams=NDJSON,
        headers=ANSWER_HEADERS,
    )


@post(
    "/chat",
    status_code=HTTPStatus.OK,
    summary="Ask a model as Ollama's clients do",
    access=Access.CHAT,
    operation=asking(OllamaChatRequest, _lines_of(OllamaChatAnswer)),
)
async def chat_like_ollama(request: AuthenticatedRequest, chats: Injected[ChatDesk]) -> Answering:
    """Return the answer as Ollama's `POST /api/chat` does. What cannot be read any further ends with an `error` line.

    Without messages the model is loaded. A `keep_alive` of 0 then unloads it, if an admin asks; to all others only the
    answer is the same. Otherwise `keep_alive` has no effect, nor have options that steer the machine.
    """
    return await ask(request, _CHAT, chats)


@post(
    "/generate",
    status_code=HTTPStatus.OK,
    summary="Have a prompt answered as Ollama's clients do",
    access=Access.CHAT,
    operation=asking(OllamaGenerateRequest, _lines_of(OllamaGenerateAnswer)),
)
async def generate_like_ollama(request: AuthenticatedRequest, chats: Injected[ChatDesk]) -> Answering:
    """Return the answer as Ollama's `POST /api/generate` does; without a prompt, load or unload as `/api/chat` does.

    The answer has no `context`, which Ollama will leave out before long: who chats sends messages.
    """
    return await ask(request, _GENERATE, chats)


ollama_routes = Router(
    f"{OLLAMA}/api",
    route_handlers=[chat_like_ollama, generate_like_ollama],
    middleware=[RequirePrincipal],
    tags=["ollama"],
)
