"""Has a model embed texts and waits for that, whichever surface the request came by."""

from collections.abc import Callable

import msgspec

from gateway.chat.answering import answer_whole
from gateway.chat.inference import Inference
from gateway.chat.order import Asked
from gateway.chat.submit import ChatDesk
from gateway.principal import AuthenticatedRequest
from gateway.request_body import JsonBody
from shared.events import Embedded

MOST_TEXTS = 2048  # in a request, as with OpenAI

_answers = msgspec.json.Decoder(Embedded)


async def embed(
    request: AuthenticatedRequest,
    body: JsonBody[Asked],
    translate: Callable[[Asked], Inference],
    *,
    surface: str,
    chats: ChatDesk,
) -> tuple[Asked, Embedded]:
    """Return what was asked for, and the embeddings.

    Args:
        request: What the client sent.
        body: Reads it.
        translate: What to ask Ollama for that; an `OllamaEmbed`.
        surface: As in `OrderDesk.take`.
        chats: Takes the order down and submits it.

    Raises:
        DeeperSensorError: What `OrderDesk.take` and `answer_whole` raise.
        ReportedError: The job ended without an answer.

    """
    asked, _, order = await chats.orders.take(request, body, translate, surface=surface)
    answered = await answer_whole(request, order, chats)
    return asked, _answers.decode(answered.events[-1].payload)
