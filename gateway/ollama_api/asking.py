"""Takes a request of Ollama's API from its body to its answer, by the way of every chat."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from litestar import Response
from litestar.response import Stream
from msgspec import Struct

from gateway.admission.limited_routes import charge_user
from gateway.chat.answering import answer_in_pieces, answer_whole
from gateway.chat.inference import Inference
from gateway.chat.submit import ChatDesk
from gateway.error_dialects import OLLAMA
from gateway.ollama_api.lines import AnswerLines, Form
from gateway.ollama_api.loading import unloads
from gateway.operation import JSON
from gateway.principal import AuthenticatedRequest
from gateway.request_body import JsonBody
from shared.clock import Clock
from shared.database.users import Role

NDJSON = "application/x-ndjson"

Answering = Response[bytes] | Stream


class Call(Struct, frozen=True):
    """One of the calls by which a model is asked."""

    body: JsonBody[Any]  # of a `GeneratingRequest`
    translate: Callable[[Any], Inference]  # that
    form: Form  # of the answer


async def ask(request: AuthenticatedRequest, call: Call, chats: ChatDesk) -> Answering:
    """Return the answer to a request: a line for each piece, or one object if the client says `stream: false`.

    Raises:
        DeeperSensorError: What `OrderDesk.take`, `answer_whole` and `answer_in_pieces` raise.
        ReportedError: The job ended without an answer.

    """
    asked, inference, order = await chats.orders.take(request, call.body, call.translate, surface=OLLAMA)
    clock: Clock = request.app.state.clock  # a second dependency would cost 50 µs
    lines = AnswerLines(call.form, model=asked.model, clock=clock)
    if unloads(inference) and request.user.role is not Role.ADMIN:
        # Its clients want to hear that it is done; other tenants want the model where it is.
        await charge_user(request.scope)
        return Response(lines.write_unloaded(), media_type=JSON, status_code=HTTPStatus.OK)
    if asked.is_stream:
        return await answer_in_pieces(request, order, chats, lambda _: lines.write, media_type=NDJSON)
    answered = await answer_whole(request, order, chats)
    return Response(lines.write_whole(answered.events), media_type=JSON, status_code=HTTPStatus.OK)
