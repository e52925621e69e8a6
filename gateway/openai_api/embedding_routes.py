"""`/openai/v1/embeddings`."""

from http import HTTPStatus

from litestar import Router, post

from gateway.access import Access
from gateway.chat.answering import ANSWER_HEADERS, asking
from gateway.chat.embed import embed
from gateway.chat.submit import ChatDesk
from gateway.dependencies import Injected
from gateway.error_dialects import OPENAI
from gateway.openai_api.embeddings import EmbeddingList, EmbeddingsRequest, to_embedding, to_embedding_list
from gateway.operation import Answer
from gateway.principal import AuthenticatedRequest, RequirePrincipal
from gateway.request_body import JsonBody
from shared.errors import UnsupportedParameterError

_BODY = JsonBody(EmbeddingsRequest, may_carry_images=True, mends_text=True)


@post(
    "/",
    status_code=HTTPStatus.OK,
    summary="Embed texts, as OpenAI does",
    access=Access.CHAT,
    operation=asking(
        EmbeddingsRequest,
        Answer("The embeddings.", EmbeddingList, headers=ANSWER_HEADERS),
        errors=[UnsupportedParameterError],
    ),
)
async def create_openai_embeddings(request: AuthenticatedRequest, chats: Injected[ChatDesk]) -> EmbeddingList:
    """Return an embedding for each text, in their order.

    A text that is longer than the model's context is refused. All embeddings together are at most `MAX_ANSWER_BYTES`
    long as numbers: who has more texts sends them in several requests.
    """
    asked, embedded = await embed(request, _BODY, to_embedding, surface=OPENAI, chats=chats)
    return await to_embedding_list(embedded, asked)


openai_embedding_routes = Router(
    "/openai/v1/embeddings",
    route_handlers=[create_openai_embeddings],
    middleware=[RequirePrincipal],
    tags=["openai"],
)
