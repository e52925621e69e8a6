"""Answers of models: whole, or as a stream whose head waits for a first word."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from http import HTTPStatus

from litestar.response import Stream
from msgspec import Struct

from gateway.admission.rate_limit_headers import rate_limit_headers
from gateway.chat import disconnect, idempotency
from gateway.chat.collect import collect
from gateway.chat.first_word import first_word
from gateway.chat.idempotency import REPLAYED
from gateway.chat.order import Order
from gateway.chat.submit import ChatDesk, Submission
from gateway.error_dialects import dialect_of
from gateway.operation import Answer, Operation
from gateway.principal import AuthenticatedRequest
from gateway.response_headers import add_response_headers
from shared.errors import (
    DeeperSensorError,
    DrainingError,
    ExceedsTokenLimitError,
    IdempotencyMismatchError,
    JobError,
    ModelNotAllowedError,
    ModelNotFoundError,
    NoWorkerError,
    QueueFullError,
    StoreUnavailableError,
    family,
)
from shared.events import Event

PATIENCE_S = 3.0  # for a first word; then the answer begins, and can no more be refused with a status
REFUSALS = (
    ModelNotAllowedError,
    ModelNotFoundError,
    NoWorkerError,
    QueueFullError,
    StoreUnavailableError,
    IdempotencyMismatchError,
    ExceedsTokenLimitError,
)
"""How a request that asks a model may be refused, whatever its form."""
ANSWER_HEADERS = ("X-Job-Id", *REPLAYED)
STREAM_HEADERS = {"X-Accel-Buffering": "no"}

Write = Callable[[Sequence[Event]], bytes]
"""Writes events in the form of a surface."""


def asking(body: type[Struct], answer: Answer, *, errors: Sequence[type[DeeperSensorError]] = ()) -> Operation:
    """Return what a route of another protocol says of itself by which a model is asked.

    Args:
        body: Of its requests.
        answer: With status 200.
        errors: With which its form is refused besides.

    """
    return Operation(
        body=body,
        answers={HTTPStatus.OK: answer},
        errors=[*REFUSALS, DrainingError, *family(JobError).values(), *errors],
        parameters=[idempotency.PARAMETER, disconnect.PARAMETER],
        is_limited=True,
    )


class Answered(Struct, frozen=True):
    """A whole answer."""

    job_id: str
    events: list[Event]


def answer_headers(request: AuthenticatedRequest, submission: Submission) -> dict[str, str]:
    """Return what every answer of a model tells in its headers."""
    has_openai_limits = dialect_of(request.scope["path"]).has_openai_limits
    return {
        "X-Job-Id": submission.job_id,
        **(REPLAYED if submission.is_replay else {}),
        **rate_limit_headers(submission.limits, as_openai=has_openai_limits),
    }


async def answer_whole(request: AuthenticatedRequest, order: Order, chats: ChatDesk) -> Answered:
    """Wait for a whole answer.

    Raises:
        ReportedError: The job ended otherwise.
        DeeperSensorError: What `ChatDesk.submit` and `collect` raise.

    """
    async with chats.submit(request, order) as submission:
        add_response_headers(request.scope, answer_headers(request, submission))
        return Answered(submission.job_id, await collect(submission.reader, request.receive))


async def answer_in_pieces(
    request: AuthenticatedRequest, order: Order, chats: ChatDesk, begin: Callable[[str], Write], *, media_type: str
) -> Stream:
    """Return the answer as a stream, once there is a first word of it.

    Args:
        request: Who asks.
        order: For what.
        chats: Submits it.
        begin: Returns what writes the events of the job with this id.
        media_type: Of what it writes.

    Raises:
        ReportedError: The job ended before that.
        DeeperSensorError: What `ChatDesk.submit` and `first_word` raise.

    """
    async with AsyncExitStack() as stack:
        submission = await stack.enter_async_context(chats.submit(request, order))
        add_response_headers(request.scope, answer_headers(request, submission))
        if submission.has_ended:  # where it began anew for the last time can be seen, however long it is
            batches = _at_once(await collect(submission.reader, request.receive))
        else:
            batches = await first_word(submission.reader, request.receive, patience_s=PATIENCE_S)
        written = _written(stack.pop_all(), batches, begin(submission.job_id))
    # A generator that was never begun never cleans up; from here on this one does, whatever becomes of the response.
    await anext(written)
    return Stream(written, media_type=media_type, headers=STREAM_HEADERS, status_code=HTTPStatus.OK)


async def _written(stack: AsyncExitStack, batches: AsyncGenerator[list[Event]], write: Write) -> AsyncGenerator[bytes]:
    async with stack, aclosing(batches):
        yield b""
        async for events in batches:
            yield write(events)


async def _at_once(events: list[Event]) -> AsyncGenerator[list[Event]]:
    yield events
