"""Takes a request of Ollama's API from its body to its answer, by the way of every chat."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from http import HTTPStatus
from typing import Any

from litestar import Response
from litestar.response import Stream
from msgspec import Struct

from gateway.admission.limited_routes import charge_user
from gateway.admission.rate_limit_headers import rate_limit_headers
from gateway.chat.collect import collect
from gateway.chat.first_word import first_word
from gateway.chat.idempotency import REPLAYED, idempotency_of
from gateway.chat.inference import Inference
from gateway.chat.order import Order, faults_charged
from gateway.chat.submit import ChatDesk, Submission
from gateway.error_dialects import OLLAMA
from gateway.ollama_api.lines import AnswerLines, Form
from gateway.ollama_api.loading import unloads
from gateway.ollama_api.request_fields import GeneratingRequest
from gateway.operation import JSON
from gateway.principal import AuthenticatedRequest
from gateway.request_body import JsonBody
from gateway.response_headers import add_response_headers
from shared.clock import Clock
from shared.database.users import Role
from shared.events import Event

NDJSON = "application/x-ndjson"
PATIENCE_S = 3.0  # for a first word; then the answer begins, and can no more be refused with a status
STREAM_HEADERS = {"X-Accel-Buffering": "no"}

Answering = Response[bytes] | Stream


class Call(Struct, frozen=True):
    """One of the calls by which a model is asked."""

    body: JsonBody[Any]  # of a `GeneratingRequest`
    translate: Callable[[Any], Inference]  # that
    form: Form  # of the answer


async def ask(request: AuthenticatedRequest, call: Call, chats: ChatDesk) -> Answering:
    """Return the answer to a request: a line for each piece, or one object if the client says `stream: false`.

    Raises:
        DeeperSensorError: What `OrderDesk.take`, `ChatDesk.submit`, `first_word` and `collect` raise.
        ReportedError: The job ended without an answer.

    """
    async with faults_charged(request.scope):
        asked: GeneratingRequest = await call.body.read(request)
        inference = call.translate(asked)
        idempotency = idempotency_of(request, inference.request, surface=OLLAMA)
        order = chats.orders.write(request, inference, idempotency=idempotency)
    clock: Clock = request.app.state.clock  # a second dependency would cost 50 µs
    lines = AnswerLines(call.form, model=asked.model, clock=clock)
    if unloads(inference) and request.user.role is not Role.ADMIN:
        # Its clients want to hear that it is done; other tenants want the model where it is.
        await charge_user(request.scope)
        return Response(lines.write_unloaded(), media_type=JSON, status_code=HTTPStatus.OK)
    if asked.is_stream:
        return await _stream(request, order, lines, chats)
    async with chats.submit(request, order) as submission:
        add_response_headers(request.scope, _headers(submission))
        events = await collect(submission.reader, request.receive)
    return Response(lines.write_whole(events), media_type=JSON, status_code=HTTPStatus.OK)


async def _stream(request: AuthenticatedRequest, order: Order, lines: AnswerLines, chats: ChatDesk) -> Stream:
    async with AsyncExitStack() as stack:
        submission = await stack.enter_async_context(chats.submit(request, order))
        add_response_headers(request.scope, _headers(submission))
        batches = await first_word(submission.reader, request.receive, patience_s=PATIENCE_S)
        written = _written(stack.pop_all(), batches, lines)
    # A generator that was never begun never cleans up; from here on this one does, whatever becomes of the response.
    await anext(written)
    return Stream(written, media_type=NDJSON, headers=STREAM_HEADERS, status_code=HTTPStatus.OK)


async def _written(
    stack: AsyncExitStack, batches: AsyncGenerator[list[Event]], lines: AnswerLines
) -> AsyncGenerator[bytes]:
    async with stack, aclosing(batches):
        yield b""
        async for events in batches:
            yield lines.write(events)


def _headers(submission: Submission) -> dict[str, str]:
    replayed = REPLAYED if submission.is_replay else {}
    return {"X-Job-Id": submission.job_id, **replayed, **rate_limit_headers(submission.limits)}
