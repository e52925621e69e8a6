"""`/ollama/api/embed`, and `/ollama/api/embeddings`, the older call for one text."""

from http import HTTPStatus

from litestar import Router, post

from gateway.access import Access
from gateway.chat.answering import ANSWER_HEADERS, asking
from gateway.chat.embed import embed
from gateway.chat.submit import ChatDesk
from gateway.dependencies import Injected
from gateway.error_dialects import OLLAMA
from gateway.ollama_api.bodies import body_of
from gateway.ollama_api.embeddings import (
    EmbedAnswer,
    EmbedRequest,
    OldEmbeddingAnswer,
    OldEmbeddingRequest,
    to_answer,
    to_embedding,
    to_old_answer,
    to_old_embedding,
)
from gateway.operation import Answer
from gateway.principal import AuthenticatedRequest, RequirePrincipal

_BODY = body_of(EmbedRequest)
_OLD_BODY = body_of(OldEmbeddingRequest)


@post(
    "/embed",
    status_code=HTTPStatus.OK,
    summary="Embed texts, as Ollama does",
    access=Access.CHAT,
    operation=asking(EmbedRequest, Answer("The embeddings.", EmbedAnswer, headers=ANSWER_HEADERS)),
)
async def embed_like_ollama(request: AuthenticatedRequest, chats: Injected[ChatDesk]) -> EmbedAnswer:
    """Return an embedding for each text, in their order; without an input the model is loaded.

    All embeddings together are at most `MAX_ANSWER_BYTES` long: who has more texts sends them in several requests.
    """
    asked, embedded = await embed(request, _BODY, to_embedding, surface=OLLAMA, chats=chats)
    return to_answer(embedded, asked)


@post(
    "/embeddings",
    status_code=HTTPStatus.OK,
    summary="Embed one text, by Ollama's older call",
    access=Access.CHAT,
    operation=asking(OldEmbeddingRequest, Answer("The embedding.", OldEmbeddingAnswer, headers=ANSWER_HEADERS)),
)
async def embed_prompt_like_ollama(request: AuthenticatedRequest, chats: Injected[ChatDesk]) -> OldEmbeddingAnswer:
    """Return the embedding of a prompt, of length one as by `/ollama/api/embed`; without a prompt load the model."""
    _, embedded = await embed(request, _OLD_BODY, to_old_embedding, surface=OLLAMA, chats=chats)
    return to_old_answer(embedded)


ollama_embedding_routes = Router(
    "/ollama/api",
    route_handlers=[embed_like_ollama, embed_prompt_like_ollama],
    middleware=[RequirePrincipal],
    tags=["ollama"],
)
