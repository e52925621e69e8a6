"""One job from claim to terminal event: asks Ollama and appends what it says to the token log."""

import logging
from contextlib import aclosing

import msgspec
from msgspec import UNSET, Struct

from shared.errors import (
    AnswerTooLargeError,
    JobCancelledError,
    JobError,
    ModelNotFoundError,
    UpstreamError,
    UpstreamInterruptedError,
    WorkerLostError,
)
from shared.events import Chunk, Embedded, ErrorBody, EventKind, Resumed, Started, Timings, Usage, encode_payload
from shared.job_queue import Claim
from shared.jobs import JobKind, JobStatus
from shared.token_log import FencedError
from worker.continuation import Continuation, find_continuation
from worker.job_in_hand import JobInHand, JobInterruptedError
from worker.ollama import Deadlines, Ollama, deadlines_for
from worker.ollama_replies import Reply, bounded
from worker.retry import MAX_ATTEMPTS, plan_retry
from worker.settings import OllamaSettings

_IN_THE_MIDDLE = (EventKind.CHUNK.value, EventKind.RESUMED.value)  # how the log of a job ends whose answer had begun

_log = logging.getLogger(__name__)


class Author(Struct, frozen=True):
    """What every reply of this worker is written with."""

    worker_name: str  # as clients see it
    ollama: Ollama
    settings: OllamaSettings


class Closing(Struct, frozen=True):
    """What the last event of every whole answer has, whatever its kind."""

    usage: Usage
    timings: Timings


async def generate_reply(author: Author, job: JobInHand) -> JobStatus | None:
    """Answer one job: exactly one terminal event has been appended to the log when this returns a status.

    Returns:
        The status the job has ended with; None when it has not: another worker owns it, or it is to be put back,
        because this one stops or, with `job.retry`, because Ollama failed.

    """
    try:
        return await _write_reply(author, job)
    except FencedError:
        _log.warning("job_taken_over")
        return None
    except JobInterruptedError:
        return None


async def _write_reply(author: Author, job: JobInHand) -> JobStatus | None:
    if (ended_as := _recall_end(job)) is not None:
        return ended_as
    try:
        async with job.limits():
            _refuse_to_go_on(job.claim)
            await _ask(author, job)
    except JobInterruptedError:
        if job.log.has_ended:
            return JobStatus.COMPLETED
        raise
    except UpstreamError as error:
        return _retry_or_end(author, job, error)
    except (JobError, ModelNotFoundError) as error:
        return job.end_with(error)
    except FencedError:
        raise
    except Exception:  # noqa: BLE001  a bug must end the job, not hang its reader
        _log.exception("job_crashed")
        return job.end_with(JobError("The worker failed."))
    return JobStatus.COMPLETED


def _recall_end(job: JobInHand) -> JobStatus | None:
    """Return how the job has ended if an earlier owner wrote its end and was lost before it could say so."""
    event = job.claim.last_event
    match event[:1]:
        case EventKind.DONE.value:
            closing = msgspec.json.decode(event[1:], type=Closing)
            job.usage, job.first_token_ms = closing.usage, closing.timings.first_token_ms
            return JobStatus.COMPLETED
        case EventKind.ERROR.value:
            job.error_code = msgspec.json.decode(event[1:], type=ErrorBody).error.code
            return JobStatus.CANCELLED if job.error_code == JobCancelledError.code else JobStatus.FAILED
        case _:
            return None


def _refuse_to_go_on(claim: Claim) -> None:
    """See whether the job was tried too often: perhaps it is what its workers die of.

    Raises:
        WorkerLostError: It was.

    """
    if claim.failures >= MAX_ATTEMPTS:
        raise WorkerLostError(f"The job was tried {MAX_ATTEMPTS} times, and the last time its worker was lost.")


def _retry_or_end(author: Author, job: JobInHand, error: UpstreamError) -> JobStatus | None:
    attempt = job.claim.failures + 1
    job.fault = error
    job.retry = plan_retry(
        error, attempt=attempt, left_ms=job.left_ms(), delay_ms=author.settings.ollama_retry_delay_ms
    )
    _log.warning("attempt_failed", extra={"code": error.code, "attempt": attempt, "again": job.retry is not None})
    return job.end_with(error) if job.retry is None else None


async def _ask(author: Author, job: JobInHand) -> None:
    claim = job.claim
    continuation: Continuation | None = None
    if claim.last_event in _IN_THE_MIDDLE:
        continuation = await find_continuation(
            author.ollama, claim.job, job.log, deadlines=_deadlines(author, job), headers=_headers(job)
        )
        resumed = Resumed(attempt=claim.failures + 1, mode="continued" if continuation else "restarted")
        job.log.append(EventKind.RESUMED.value, encode_payload(resumed))
    else:
        started = Started(job_id=claim.job.id, worker=author.worker_name, attempt=claim.failures + 1)
        job.log.append(EventKind.STARTED.value, encode_payload(started))
    if claim.job.kind is JobKind.EMBED:
        await _embed(author, job)
    elif continuation is not None and continuation.may_say == 0:
        _end_spent(job, continuation)
    else:
        await _generate(author, job, continuation)


async def _generate(author: Author, job: JobInHand, continuation: Continuation | None) -> None:
    request = continuation.request if continuation else job.claim.job.request
    most_bytes = author.settings.max_answer_bytes - (continuation.part.size_bytes if continuation else 0)
    ask = author.ollama.chat if job.claim.job.kind is JobKind.CHAT else author.ollama.generate
    replies_as_read = ask(request, deadlines=_deadlines(author, job), headers=_headers(job))
    async with aclosing(replies_as_read) as batches:
        async for replies_as_they_are in batches:
            replies = continuation.join(replies_as_they_are) if continuation else replies_as_they_are
            for reply in replies:
                if job.first_token_ms is None:
                    job.first_token_ms = job.ran_ms()
                if reply.done:
                    job.usage = Usage(
                        prompt_tokens=reply.prompt_tokens,
                        completion_tokens=reply.completion_tokens,
                        estimated=True if continuation else UNSET,
                    )
                    kind, payload = EventKind.DONE.value, _last_chunk(job, reply)
                else:
                    kind, payload = EventKind.CHUNK.value, _chunk(job, reply)
                if job.log.size_bytes + len(payload) > most_bytes:
                    raise AnswerTooLargeError(f"The answer is longer than {most_bytes} bytes.")
                job.log.append(kind, payload)
                if reply.done:
                    return
            await job.log.room()
    raise UpstreamInterruptedError("Ollama ended its answer without the last line.")


def _end_spent(job: JobInHand, continuation: Continuation) -> None:
    """End an answer of which all that `num_predict` allows was sent, but not its end."""
    spent = continuation.last_reply()
    job.usage = Usage(prompt_tokens=0, completion_tokens=spent.completion_tokens, estimated=True)
    job.log.append(EventKind.DONE.value, _last_chunk(job, spent))


async def _embed(author: Author, job: JobInHand) -> None:
    # Thousands of texts come back all at once, which on a slow machine takes as long as loading a model.
    deadlines = deadlines_for(author.settings, is_loaded=False, calls_tools=False)
    answer = await author.ollama.embed(job.claim.job.request, deadlines=deadlines, headers=_headers(job))
    job.first_token_ms = job.ran_ms()
    job.usage = Usage(prompt_tokens=bounded(answer.prompt_eval_count), completion_tokens=0)
    embedded = Embedded(
        model=job.claim.job.model,
        embeddings=answer.embeddings,
        done=True,
        usage=job.usage,
        timings=_timings(job, load_ms=bounded(answer.load_duration // 1_000_000)),
        job_id=job.claim.job.id,
    )
    payload = encode_payload(embedded)
    if len(payload) > author.settings.max_answer_bytes:
        raise AnswerTooLargeError(
            f"The embeddings are longer than {author.settings.max_answer_bytes} bytes: send fewer texts at once."
        )
    job.log.append(EventKind.DONE.value, payload)


def _deadlines(author: Author, job: JobInHand) -> Deadlines:
    return deadlines_for(author.settings, is_loaded=job.is_loaded, calls_tools=job.claim.job.calls_tools)


def _headers(job: JobInHand) -> dict[str, str]:
    traceparent = job.claim.job.traceparent
    return {"traceparent": traceparent} if traceparent else {}


def _timings(job: JobInHand, *, load_ms: int, prompt_eval_ms: float = 0.0, eval_ms: float = 0.0) -> Timings:
    return Timings(
        queue_ms=job.claim.queue_ms,
        load_ms=load_ms,
        first_token_ms=job.first_token_ms or 0,
        total_ms=job.claim.queue_ms + job.ran_ms(),
        prompt_eval_ms=prompt_eval_ms,
        eval_ms=eval_ms,
    )


def _chunk(job: JobInHand, reply: Reply) -> bytes:
    return encode_payload(
        Chunk(
            model=job.claim.job.model,
            content=reply.content,
            done=False,
            thinking=reply.thinking or UNSET,
            tool_calls=reply.tool_calls or UNSET,
        )
    )


def _last_chunk(job: JobInHand, reply: Reply) -> bytes:
    return encode_payload(
        Chunk(
            model=job.claim.job.model,
            content=reply.content,
            done=True,
            thinking=reply.thinking or UNSET,
            tool_calls=reply.tool_calls or UNSET,
            done_reason=reply.done_reason,
            usage=job.usage,
            timings=_timings(job, load_ms=reply.load_ms, prompt_eval_ms=reply.prompt_eval_ms, eval_ms=reply.eval_ms),
            job_id=job.claim.job.id,
        )
    )
