"""The table `jobs`: one row for every job that ended: metadata, usage, and of durable ones the answer for some days.

No prompt is in it.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec
from msgspec import Struct
from sqlalchemy import (
    ARRAY,
    Row,
    TextClause,
    Uuid,
    any_,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ids
from shared.database.tables import jobs
from shared.events import Event
from shared.jobs import JobEnd, JobKind, JobStatus
from shared.transcripts import encode_transcript, transcribe

_EXPIRE_LOCK = 7_236_912_049_853_303  # any number that nobody else takes an advisory lock on


class FinishedJob(Struct, frozen=True, kw_only=True):
    """One row; its fields are the table's columns."""

    id: str
    user_id: str
    kind: JobKind
    model: str
    status: JobStatus
    error_code: str | None  # None: it completed
    prompt_tokens: int
    completion_tokens: int
    queue_ms: int  # admission to claim, or to the end if there was none
    first_token_ms: int | None  # None: nothing was answered
    total_ms: int
    attempts: int  # 0: no worker ever had it
    worker: str | None
    request_id: str
    created_at: datetime  # of admission; aware
    finished_at: datetime  # aware
    epoch: int  # of who ended it; the row of a higher one replaces that of a lower one
    is_durable: bool
    api_key_id: str | None = None  # with which it was asked for; None: by a session
    answer: str | None = None  # of a durable job, until it is too old: shared/transcripts.py

    @classmethod
    def of(cls, job_id: str, end: JobEnd, events: Sequence[Event]) -> Self:
        """Return the row of a job that has ended, whose log up to its end is `events`."""
        terminal = end.terminal.encode()
        transcript = transcribe([*events, Event(0, terminal[:1], terminal[1:])])
        usage, timings, error = transcript.usage, transcript.timings, transcript.error
        created_at = created(job_id)
        return cls(
            id=job_id,
            user_id=end.user_id,
            kind=end.kind,
            model=end.model,
            status=end.status,
            error_code=error.code if error else None,
            prompt_tokens=usage.prompt_tokens if usage else end.prompt_tokens,
            completion_tokens=usage.completion_tokens if usage else end.completion_tokens,
            queue_ms=end.queue_ms,
            first_token_ms=timings.first_token_ms if timings else None,
            total_ms=end.total_ms,
            attempts=end.attempts,
            worker=end.worker,
            request_id=end.request_id,
            created_at=created_at,
            finished_at=created_at + timedelta(milliseconds=end.total_ms),
            epoch=end.epoch,
            is_durable=end.is_durable,
            api_key_id=end.api_key_id,
            answer=encode_transcript(transcript) if end.is_durable else None,
        )


_columns = [column.name for column in jobs.columns]
_metadata = [column for column in jobs.columns if column is not jobs.c.answer]
METADATA_COLUMNS = [column.name for column in _metadata]
"""What a worker writes: it sees no answers."""
END_COLUMNS = (
    "status", "error_code", "prompt_tokens", "completion_tokens", "queue_ms", "first_token_ms", "total_ms", "attempts",
    "worker", "finished_at", "epoch",
)  # fmt: skip
"""What of it a worker replaces. Whose the job is stays: or it could move answers to where it can read them."""


def _insertion_of(columns: Sequence[str], *, replaced: Sequence[str], returning: str = "") -> TextClause:
    """Return a statement that inserts these columns of any number of rows, which travel as one JSON parameter.

    Of a job whose row is there with a lower epoch some are replaced. The users are locked against deletion first: one
    deleted user's row would otherwise refuse the whole batch.
    """
    return text(
        f"""
        INSERT INTO jobs ({", ".join(columns)})
        SELECT {", ".join(f"finished.{name}" for name in columns)}
        FROM (
            SELECT DISTINCT ON (id) *
            FROM json_populate_recordset(NULL::jobs, CAST(:rows AS json))
            ORDER BY id, epoch DESC
        ) AS finished
        JOIN users ON users.id = finished.user_id
        FOR KEY SHARE OF users
        ON CONFLICT (id) DO UPDATE
        SET {", ".join(f"{name} = excluded.{name}" for name in replaced)}
        WHERE jobs.epoch < excluded.epoch
        {returning}
        """  # noqa: S608  names of our own columns  # nosec B608
    )


_INSERT = _insertion_of(_columns, replaced=_columns, returning="RETURNING jobs.id")
_INSERT_METADATA = _insertion_of(METADATA_COLUMNS, replaced=END_COLUMNS)


def created(job_id: str) -> datetime:
    """Return when a job was made: its id says so."""
    return datetime.fromtimestamp(ids.created_ms(job_id) / 1000, UTC)


async def record_finished(connection: AsyncConnection, rows: Sequence[FinishedJob]) -> set[str]:
    """Insert the rows; those of users who are gone are left out. Safe to repeat, in any order.

    Returns:
        Those that were news.

    """
    inserted = await connection.execute(_INSERT, {"rows": msgspec.json.encode(rows).decode()})
    return {str(id_) for id_ in inserted.scalars()}


async def record_metadata(connection: AsyncConnection, rows: Sequence[FinishedJob]) -> None:
    """Do what `record_finished` does with rows that have no answer; one that is stored stays."""
    await connection.execute(_INSERT_METADATA, {"rows": msgspec.json.encode(rows).decode()})


async def find(connection: AsyncConnection, job_id: str) -> FinishedJob | None:
    """Return a job; None: no job of this id has ended here."""
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).one_or_none()
    return None if row is None else _to_job(row)


async def list_of_user(
    connection: AsyncConnection,
    user_id: str,
    *,
    before: str | None,
    status: JobStatus | None,
    limit: int,
    api_key_id: str | None = None,
) -> list[FinishedJob]:
    """Return a user's jobs without their answers, newest first; those older than the id `before`, if one is given.

    With `api_key_id` those that were asked for with that key.
    """
    statement = (
        select(*_metadata)
        .where(jobs.c.user_id == user_id)
        .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        place = tuple_(literal(created(before), jobs.c.created_at.type), literal(before, jobs.c.id.type))
        statement = statement.where(tuple_(jobs.c.created_at, jobs.c.id) < place)
    if status is not None:
        statement = statement.where(jobs.c.status == status)
    if api_key_id is not None:
        statement = statement.where(jobs.c.api_key_id == api_key_id)
    return [_to_job(row) for row in await connection.execute(statement)]


async def answered_among(connection: AsyncConnection, job_ids: Collection[str]) -> set[str]:
    """Return those of the jobs whose answers are kept."""
    statement = select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.answer.is_not(None))
    return set((await connection.execute(statement)).scalars())


async def forget_answers_of(connection: AsyncConnection, job_ids: Collection[str]) -> None:
    """Delete the answers of jobs; what they cost stays."""
    ids = bindparam("ids", list(job_ids), ARRAY(Uuid(as_uuid=False)))
    await connection.execute(update(jobs).where(jobs.c.id == any_(ids)).values(answer=None))


async def latest_of_user(connection: AsyncConnection, user_id: str, *, limit: int) -> list[str]:
    """Return the ids of a user's latest jobs that have ended."""
    statement = select(jobs.c.id).where(jobs.c.user_id == user_id).order_by(jobs.c.created_at.desc()).limit(limit)
    return list((await connection.execute(statement)).scalars())


async def forget_answers(connection: AsyncConnection, *, older_than_days: int, limit: int) -> int:
    """Delete the oldest answers that are too old; one process at a time does, and others return at once.

    Returns:
        How many were deleted; fewer than `limit`: there is nothing more to do.

    """
    lock = select(func.pg_try_advisory_xact_lock(literal_column(str(_EXPIRE_LOCK))))
    if not (await connection.execute(lock)).scalar_one():
        return 0
    too_old = (
        select(jobs.c.id)
        .where(jobs.c.answer.is_not(None))
        .where(jobs.c.finished_at < func.now() - timedelta(days=older_than_days))
        .order_by(jobs.c.finished_at)
        .limit(limit)
    )
    result = await connection.execute(update(jobs).where(jobs.c.id.in_(too_old)).values(answer=None))
    return result.rowcount


def _to_job(row: Row[Any]) -> FinishedJob:
    return msgspec.convert(row, FinishedJob, from_attributes=True)
