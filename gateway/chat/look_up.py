"""Tells how a job stands: from Redis as long as that has it, from PostgreSQL before and after."""

from datetime import UTC, datetime, timedelta

from msgspec import structs
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.chat.schemas import ChatJob, JobTimings
from gateway.chat.stream_links import StreamLinks
from gateway.principal import Principal
from shared.database import accepted_jobs, jobs
from shared.database.engine import Database
from shared.database.jobs import FinishedJob, created
from shared.errors import AnswerExpiredError, NotFoundError, StoreUnavailableError, by_code
from shared.events import ErrorDetail, Timings, Usage
from shared.ids import is_id
from shared.job_queue import JobQueue, JobState
from shared.jobs import TERMINAL, Job, JobStatus
from shared.token_log import read_after
from shared.transcripts import Transcriber, Transcript, decode_transcript

ENTRIES_AT_ONCE = 500  # of a log

_NOTHING = Transcript()


class JobDesk:
    """Looks jobs up for their owners."""

    def __init__(self, *, redis: Redis, queue: JobQueue, database: Database, links: StreamLinks) -> None:
        self._redis = redis
        self._queue = queue
        self._database = database
        self._links = links

    async def find(self, job_id: str, principal: Principal) -> ChatJob:
        """Return a job of somebody's with what it has answered so far, or in all.

        Raises:
            NotFoundError: There is no such job, or it is somebody else's.
            AnswerExpiredError: It was durable, and its answer is not kept any more.
            StoreUnavailableError: Redis or PostgreSQL is out of reach, and the other one does not know the job.

        """
        if not is_id(job_id):
            raise _missing()
        try:
            found = await self._in_redis(job_id, principal)
        except RedisError as error:
            return await self._in_database(job_id, principal, otherwise=_out_of_reach(error))
        return found or await self._in_database(job_id, principal, otherwise=_missing())

    async def _in_redis(self, job_id: str, principal: Principal) -> ChatJob | None:
        state = await self._queue.look(job_id)
        if state is None:
            return None
        if not principal.owns(user_id=state.user_id, api_key_id=state.api_key_id):
            raise _missing()
        place = None
        if state.status is JobStatus.QUEUED:
            (place,) = await self._queue.places([(state.model, job_id)])
        transcript = await self._transcribe(job_id)
        position = place.position if place else None
        return self._of_state(job_id, state, transcript, principal, position=position)

    async def _transcribe(self, job_id: str) -> Transcript:
        transcriber = Transcriber()
        epoch = seq = 0
        while batches := await read_after(self._redis, job_id, epoch=epoch, seq=seq, most_entries=ENTRIES_AT_ONCE):
            for batch in batches:
                transcriber.take(batch.split())
            epoch, seq = batches[-1].epoch, batches[-1].last_seq if batches[-1].events else 0
        return transcriber.transcript()

    async def _in_database(self, job_id: str, principal: Principal, *, otherwise: Exception) -> ChatJob:
        async with self._database.transaction() as connection:
            accepted = await accepted_jobs.find(connection, [job_id])
            ended = await jobs.find(connection, job_id)
        job = ended or (accepted[0].job if accepted else None)
        if job is None:
            raise otherwise
        if not principal.owns(user_id=job.user_id, api_key_id=job.api_key_id):
            raise _missing()
        return self._of_row(ended, principal) if ended else self.of_new(accepted[0].job, principal, position=None)

    def of_new(self, job: Job, principal: Principal, *, position: int | None) -> ChatJob:
        """Return a job that waits and has answered nothing; `position` is None when it is not in Redis just now."""
        return ChatJob(
            id=job.id,
            status=JobStatus.QUEUED,
            model=job.model,
            position=position,
            content="",
            created_at=created(job.id),
            is_durable=job.is_durable,
            stream_url=self._links.to(job.id, credential=principal.credential),
        )

    def _of_state(
        self, job_id: str, state: JobState, transcript: Transcript, principal: Principal, *, position: int | None
    ) -> ChatJob:
        return ChatJob(
            id=job_id,
            status=state.status,
            model=state.model,
            position=position,
            content=transcript.content,
            thinking=transcript.thinking or None,
            tool_calls=transcript.tool_calls or None,
            done_reason=transcript.done_reason,
            usage=transcript.usage,
            timings=_timings(transcript.timings),
            error=transcript.error,
            created_at=created(job_id),
            started_at=_time(state.started_ms),
            finished_at=_time(state.ended_ms) if state.status in TERMINAL else None,
            is_durable=state.is_durable,
            stream_url=self._links.to(job_id, credential=principal.credential),
        )

    def _of_row(self, row: FinishedJob, principal: Principal) -> ChatJob:
        if row.is_durable and row.answer is None:
            raise AnswerExpiredError("The answer is not kept any more.", param="id")
        transcript = decode_transcript(row.answer) if row.answer else _NOTHING
        return ChatJob(
            id=row.id,
            status=row.status,
            model=row.model,
            position=None,
            content=transcript.content if row.answer else None,
            thinking=transcript.thinking or None,
            tool_calls=transcript.tool_calls or None,
            done_reason=transcript.done_reason,
            usage=transcript.usage or _usage_of(row),
            timings=_timings(transcript.timings) or JobTimings(row.queue_ms, None, row.first_token_ms, row.total_ms),
            error=transcript.error or _error_of(row),
            created_at=row.created_at,
            started_at=row.created_at + timedelta(milliseconds=row.queue_ms) if row.attempts else None,
            finished_at=row.finished_at,
            is_durable=row.is_durable,
            stream_url=self._links.to(row.id, credential=principal.credential),
        )


def _usage_of(row: FinishedJob) -> Usage | None:
    completed = row.status is JobStatus.COMPLETED
    return Usage(prompt_tokens=row.prompt_tokens, completion_tokens=row.completion_tokens) if completed else None


def _error_of(row: FinishedJob) -> ErrorDetail | None:
    """Return what is known of an error of which only the code was kept."""
    if row.error_code is None:
        return None
    kind = by_code(row.error_code)
    meaning = str(kind.__doc__).partition("\n")[0]
    return ErrorDetail(row.error_code, kind.type, meaning, None, row.request_id)


def _timings(timings: Timings | None) -> JobTimings | None:
    return timings and JobTimings(**structs.asdict(timings))


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


def _out_of_reach(error: RedisError) -> StoreUnavailableError:
    unavailable = StoreUnavailableError("Jobs are out of reach just now.", retry_after_s=2.0)
    unavailable.__cause__ = error
    return unavailable


def _missing() -> NotFoundError:
    return NotFoundError("There is no such job.", param="id")
