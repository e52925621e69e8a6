"""`/v1/chat`: asks a model and answers whole or as a stream; stops what is under way."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath
from litestar.response import Stream

from gateway import paging
from gateway.access import Access
from gateway.admission.limited_routes import LimitByUser, LimitStreams
from gateway.admission.rate_limit_headers import rate_limit_headers
from gateway.chat import disconnect, idempotency
from gateway.chat.answering import ANSWER_HEADERS, REFUSALS, STREAM_HEADERS, answer_headers, answer_whole
from gateway.chat.cancel import Canceller
from gateway.chat.collect import PIECES
from gateway.chat.event_stream import RETRY, RETRY_SOON, to_frames
from gateway.chat.idempotency import REPLAYED
from gateway.chat.list_jobs import STATUS_PATTERN, JobList
from gateway.chat.look_up import JobDesk
from gateway.chat.native_order import NativeDesk
from gateway.chat.preference import APPLIED, prefers_async
from gateway.chat.reader_access import RequireReader
from gateway.chat.resume import Resumption
from gateway.chat.schemas import ChatJob, ChatRequest, JobPage, StoppingJob
from gateway.chat.stream_links import StreamLinks
from gateway.chat.submit import Acceptance
from gateway.dependencies import Injected
from gateway.operation import Answer, Operation, Parameter
from gateway.principal import AuthenticatedRequest, RequirePrincipal
from gateway.relay import Reader
from gateway.request_header import single_header
from shared.errors import (
    AnswerExpiredError,
    ConversationBusyError,
    ConversationFullError,
    DrainingError,
    InvalidEventIdError,
    InvalidRequestError,
    JobError,
    NotFoundError,
    StoreUnavailableError,
    StreamExpiredError,
    family,
)
from shared.events import Chunk, Event

_REFUSALS = (*REFUSALS, NotFoundError, ConversationBusyError, ConversationFullError)
ASKING = (idempotency.PARAMETER, disconnect.PARAMETER)
PREFERENCE = Parameter(
    "Prefer", "header", "`respond-async`: answer with the job at once, and keep its answer for days."
)


@post(
    "/",
    status_code=HTTPStatus.OK,
    summary="Ask a model and wait for the whole answer",
    access=Access.CHAT,
    operation=Operation(
        body=ChatRequest,
        answers={
            HTTPStatus.OK: Answer("The pieces of the answer.", list[Chunk], headers=ANSWER_HEADERS),
            HTTPStatus.ACCEPTED: Answer(
                "The job, which runs to its end.", ChatJob, headers=[*ANSWER_HEADERS, "Location", *APPLIED]
            ),
        },
        errors=[*_REFUSALS, DrainingError, *family(JobError).values()],
        parameters=[*ASKING, PREFERENCE],
        is_limited=True,
    ),
)
async def create_chat(request: AuthenticatedRequest, native: Injected[NativeDesk]) -> Response[Any]:
    """Return the chunks of the answer as one JSON array, or with `Prefer: respond-async` at once the job.

    If the client goes away, the job is cancelled; with an `Idempotency-Key` only after `DISCONNECT_GRACE_SECS`, with
    `X-On-Disconnect: continue` not at all. A job that was accepted with 202, or that answers in a conversation, runs to
    its end unless it is deleted, and is lost neither with Redis nor with a gateway. A gateway that has to stop before
    the answer is there says `draining`: sent again with the same key, the request gets the same job.
    """
    if prefers_async(request.scope["headers"]):
        return _accepted(await native.chats.accept(request, await native.take(request, is_durable=True)))
    answered = await answer_whole(request, await native.take(request), native.chats)
    return Response(_whole(answered.events), status_code=HTTPStatus.OK, media_type="application/json")


@post(
    "/stream",
    status_code=HTTPStatus.OK,
    summary="Ask a model and have the answer streamed",
    access=Access.CHAT,
    operation=Operation(
        body=ChatRequest,
        answers={HTTPStatus.OK: Answer("Server-sent events.", str, "text/event-stream", headers=ANSWER_HEADERS)},
        errors=_REFUSALS,
        parameters=ASKING,
        is_limited=True,
    ),
)
async def stream_chat(request: AuthenticatedRequest, native: Injected[NativeDesk]) -> Stream:
    """Return server-sent events: `queued`, `started`, `chunk` …, one of which ends the stream, or `error`.

    `resumed` tells of an attempt that failed in the middle of the answer. With `mode` `continued` the text goes on, and
    the closing usage is `estimated`; with `restarted` the text so far is to be dropped.

    With `conversation_id`, what was said in that conversation comes before the messages. These are stored in it before
    the stream begins, and the reply, or as much as there is of it, before the stream ends, whoever reads it.
    """
    async with AsyncExitStack() as stack:
        order = await native.take(request, is_stream=True)
        submission = await stack.enter_async_context(native.chats.submit(request, order))
        frames = _frames(stack.pop_all(), submission.reader)
    # A generator that was never begun never cleans up; from here on this one does, whatever becomes of the response.
    await anext(frames)
    return Stream(
        frames,
        media_type="text/event-stream",
        headers={**answer_headers(request, submission), **STREAM_HEADERS},
    )


def _whole(events: Sequence[Event]) -> bytes:
    return b"[" + b",".join(payload for _, kind, payload in events if kind in PIECES) + b"]"


def _accepted(acceptance: Acceptance) -> Response[ChatJob]:
    location = {"Location": f"/v1/chat/{acceptance.job.id}"}
    return Response(
        acceptance.job,
        status_code=HTTPStatus.ACCEPTED,
        headers={
            "X-Job-Id": acceptance.job.id,
            **location,
            **APPLIED,
            **(REPLAYED if acceptance.is_replay else {}),
            **rate_limit_headers(acceptance.limits),
        },
    )


async def _frames(stack: AsyncExitStack, reader: Reader) -> AsyncGenerator[bytes]:
    async with stack:
        yield b""
        yield RETRY
        reader.may_part = True
        async for events in reader.events():
            yield to_frames(events)
        if not reader.ended:
            yield RETRY_SOON


@get(
    "/{job_id:str}/stream",
    summary="Read a job's stream again, or further",
    access=Access.CHAT,
    operation=Operation(
        answers={
            HTTPStatus.OK: Answer("Server-sent events.", str, "text/event-stream", headers=["X-Job-Id"]),
            HTTPStatus.NO_CONTENT: Answer("The event named was the last one: there is nothing to wait for."),
        },
        errors=[InvalidEventIdError, NotFoundError, StreamExpiredError, StoreUnavailableError],
        parameters=[
            Parameter("Last-Event-ID", "header", "The id of the last event received; without it, from the start."),
            Parameter("last_event_id", "query", "The same, for who cannot send headers; the header comes first."),
        ],
    ),
)
async def resume_stream(
    request: AuthenticatedRequest, job_id: FromPath[str], resumption: Injected[Resumption], links: Injected[StreamLinks]
) -> Stream | Response[None]:
    """Return the same events from the start or after `Last-Event-ID`, to any number of readers, from any gateway.

    A stream that ends without a terminal event goes on elsewhere, or is not to be read any more: asking again tells.
    """
    principal = request.user
    header = single_header(request.scope, "Last-Event-ID") or b""
    last_event_id = header.decode("latin-1") or request.query_params.get("last_event_id") or ""
    place = await resumption.find(job_id, principal, last_event_id=last_event_id)
    if place.is_the_end:
        return Response(None, status_code=HTTPStatus.NO_CONTENT)
    async with AsyncExitStack() as stack:
        stream_url = links.to(job_id, credential=principal.credential)
        reader = await stack.enter_async_context(resumption.read(place, stream_url=stream_url))
        reader.credential = principal.credential
        frames = _frames(stack.pop_all(), reader)
    await anext(frames)
    return Stream(
        frames,
        status_code=HTTPStatus.OK,
        media_type="text/event-stream",
        headers={"X-Job-Id": job_id, **STREAM_HEADERS},
    )


@get(
    "/",
    middleware=[LimitByUser],
    summary="List the caller's jobs",
    access=Access.CHAT,
    operation=Operation(
        errors=[InvalidRequestError, StoreUnavailableError],
        parameters=[
            Parameter("status", "query", "Only jobs of this status.", pattern=STATUS_PATTERN),
            *paging.PARAMETERS,
        ],
    ),
)
async def list_chats(request: AuthenticatedRequest, job_list: Injected[JobList]) -> JobPage:
    """Return the caller's jobs, newest first, those that wait and run included."""
    return await job_list.page(request.query_params, request.user)


@get(
    "/{job_id:str}",
    middleware=[LimitByUser],
    summary="Show a job",
    access=Access.CHAT,
    operation=Operation(errors=[NotFoundError, AnswerExpiredError, StoreUnavailableError]),
)
async def show_chat(request: AuthenticatedRequest, job_id: FromPath[str], jobs: Injected[JobDesk]) -> ChatJob:
    """Return how a job of the caller stands and what it has answered so far, or in all.

    Of a job that was read as it was answered only metadata stay when its stream has expired: `content` is null then.
    """
    return await jobs.find(job_id, request.user)


@delete(
    "/{job_id:str}",
    status_code=HTTPStatus.OK,
    middleware=[LimitByUser],
    summary="Stop a job",
    access=Access.CHAT,
    operation=Operation(
        answers={
            HTTPStatus.OK: Answer("The job, which has ended.", ChatJob),
            HTTPStatus.ACCEPTED: Answer("It is being stopped.", StoppingJob),
        },
        errors=[NotFoundError, AnswerExpiredError, StoreUnavailableError],
    ),
)
async def cancel_chat(
    request: AuthenticatedRequest, job_id: FromPath[str], canceller: Injected[Canceller], jobs: Injected[JobDesk]
) -> Response[Any]:
    """Stop a job of the caller: 202 while it is being stopped, 200 when it has ended, now or before."""
    if request.user.confined_to is not None:
        await jobs.find(job_id, request.user)  # or it is not there
    stopped = await canceller.cancel(job_id, user_id=request.user.user_id)
    if stopped.status == "stopping":
        return Response(StoppingJob(id=job_id, status="stopping", model=stopped.model), status_code=HTTPStatus.ACCEPTED)
    return Response(await jobs.find(job_id, request.user), status_code=HTTPStatus.OK)


chat_routes = Router(
    "/v1/chat",
    route_handlers=[create_chat, stream_chat, list_chats, show_chat, cancel_chat],
    middleware=[RequirePrincipal],
    tags=["chat"],
)
stream_routes = Router(
    "/v1/chat", route_handlers=[resume_stream], middleware=[RequireReader, LimitStreams], tags=["chat"]
)
