"""`/v1/chat`: asks a model and answers whole or as a stream; stops what is under way."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from http import HTTPStatus

from litestar import Response, Router, delete, post
from litestar.params import FromPath
from litestar.response import Stream

from gateway.admission.rate_limit_headers import rate_limit_headers
from gateway.chat.cancel import Canceller
from gateway.chat.collect import collect
from gateway.chat.event_stream import RETRY, to_frames
from gateway.chat.schemas import ChatRequest, JobAnswer
from gateway.chat.submit import ChatDesk
from gateway.dependencies import Injected
from gateway.error_responses import status_of
from gateway.operation import Answer, Operation
from gateway.principal import AuthenticatedRequest, RequirePrincipal
from gateway.relay import Reader
from shared.errors import (
    JobError,
    ModelNotFoundError,
    NotFoundError,
    NoWorkerError,
    QueueFullError,
    StoreUnavailableError,
    by_code,
    family,
)
from shared.events import Chunk

REFUSALS = (ModelNotFoundError, NoWorkerError, QueueFullError, StoreUnavailableError)
STREAM_HEADERS = {"X-Accel-Buffering": "no"}


@post(
    "/",
    status_code=HTTPStatus.OK,
    summary="Ask a model and wait for the whole answer",
    operation=Operation(
        body=ChatRequest,
        answers={HTTPStatus.OK: Answer("The pieces of the answer.", list[Chunk], headers=["X-Job-Id"])},
        errors=[*REFUSALS, *family(JobError).values()],
        is_limited=True,
    ),
)
async def create_chat(request: AuthenticatedRequest, chats: Injected[ChatDesk]) -> Response[bytes]:
    """Return the chunks of the answer as one JSON array; if the client goes away, the job is cancelled."""
    async with chats.submit(request, grace_ms=0) as submission:
        answer = await collect(submission.reader, request.receive)
    return Response(
        answer.body,
        status_code=status_of(by_code(answer.error_code)) if answer.error_code else HTTPStatus.OK,
        media_type="application/json",
        headers={"X-Job-Id": submission.job.id, **rate_limit_headers(submission.limits)},
    )


@post(
    "/stream",
    status_code=HTTPStatus.OK,
    summary="Ask a model and have the answer streamed",
    operation=Operation(
        body=ChatRequest,
        answers={HTTPStatus.OK: Answer("Server-sent events.", str, "text/event-stream", headers=["X-Job-Id"])},
        errors=REFUSALS,
        is_limited=True,
    ),
)
async def stream_chat(request: AuthenticatedRequest, chats: Injected[ChatDesk]) -> Stream:
    """Return server-sent events: `queued`, `started`, `chunk` …, one of which ends the stream, or `error`."""
    async with AsyncExitStack() as stack:
        submission = await stack.enter_async_context(chats.submit(request, grace_ms=chats.grace_ms))
        frames = _frames(stack.pop_all(), submission.reader)
    # A generator that was never begun never cleans up; from here on this one does, whatever becomes of the response.
    await anext(frames)
    return Stream(
        frames,
        media_type="text/event-stream",
        headers={"X-Job-Id": submission.job.id, **STREAM_HEADERS, **rate_limit_headers(submission.limits)},
    )


async def _frames(stack: AsyncExitStack, reader: Reader) -> AsyncGenerator[bytes]:
    async with stack:
        yield b""
        yield RETRY
        async for events in reader.events():
            yield to_frames(events)


@delete(
    "/{job_id:str}",
    status_code=HTTPStatus.OK,
    summary="Stop a job",
    operation=Operation(
        answers={
            HTTPStatus.OK: Answer("The job has ended.", JobAnswer),
            HTTPStatus.ACCEPTED: Answer("Its worker stops it.", JobAnswer),
        },
        errors=[NotFoundError],
    ),
)
async def cancel_chat(
    request: AuthenticatedRequest, job_id: FromPath[str], canceller: Injected[Canceller]
) -> Response[JobAnswer]:
    """Stop a job of the caller: 202 while its worker stops it, 200 when it has ended, now or before."""
    state = await canceller.cancel(job_id, user_id=request.user.user_id)
    stopping = state.status == "stopping"
    return Response(
        JobAnswer(id=job_id, status=state.status, model=state.model),
        status_code=HTTPStatus.ACCEPTED if stopping else HTTPStatus.OK,
    )


chat_routes = Router(
    "/v1/chat",
    route_handlers=[create_chat, stream_chat, cancel_chat],
    middleware=[RequirePrincipal],
    tags=["chat"],
)
