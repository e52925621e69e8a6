"""The table `accepted_jobs`: durable jobs from their acceptance to their end, each with what it takes to run it.

Redis has them too, as long as it keeps its data; from here they come back when it does not. A row goes in the
transaction that stores the job's end, and with it the prompt.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import delete, func, literal, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database.tables import accepted_jobs, users
from shared.idempotency import Idempotency
from shared.jobs import Job, decode_job, encode_job

_RESTORE_LOCK = 7_236_912_049_853_302  # any number that nobody else takes an advisory lock on


class ListedJob(Struct, frozen=True):
    """A row without its payload."""

    id: str
    model: str


class AcceptedJob(Struct, frozen=True):
    """One row."""

    job: Job
    queue_timeout_ms: int
    accepted_at: datetime
    idempotency: Idempotency | None


async def accept(
    connection: AsyncConnection, job: Job, *, queue_timeout_ms: int, idempotency: Idempotency | None
) -> bool:
    """Insert a job, which from the commit on will run; False: its user is gone."""
    values = {
        "id": job.id,
        "model": job.model,
        "payload": encode_job(job),
        "queue_timeout_ms": queue_timeout_ms,
        "idempotency_key": idempotency.key if idempotency else None,
        "fingerprint": idempotency.fingerprint if idempotency else None,
        "conversation_id": job.conversation_id,
    }
    columns = [accepted_jobs.c[name] for name in values]
    row = select(users.c.id, *(literal(values[column.name], column.type) for column in columns))
    statement = insert(accepted_jobs).from_select(
        [accepted_jobs.c.user_id, *columns], row.where(users.c.id == job.user_id)
    )
    return (await connection.execute(statement)).rowcount == 1


async def find(connection: AsyncConnection, job_ids: Sequence[str]) -> list[AcceptedJob]:
    """Return those of the jobs that are here: the others have ended, or were never accepted."""
    statement = select(accepted_jobs).where(accepted_jobs.c.id.in_(job_ids))
    return [
        AcceptedJob(
            decode_job(row.payload),
            row.queue_timeout_ms,
            row.accepted_at,
            Idempotency(row.idempotency_key, row.fingerprint) if row.idempotency_key else None,
        )
        for row in await connection.execute(statement)
    ]


async def ids_among(connection: AsyncConnection, job_ids: Sequence[str]) -> set[str]:
    """Return those of the ids that are here, as `find` does."""
    statement = select(accepted_jobs.c.id).where(accepted_jobs.c.id.in_(job_ids))
    return set((await connection.execute(statement)).scalars())


async def find_in_conversation(connection: AsyncConnection, conversation_id: str) -> str | None:
    """Return the id of the job that has yet to answer in a conversation; None: there is none."""
    statement = select(accepted_jobs.c.id).where(accepted_jobs.c.conversation_id == conversation_id)
    return (await connection.execute(statement)).scalar_one_or_none()


async def list_ids(connection: AsyncConnection, *, after: str, older_than_s: float, limit: int) -> list[str]:
    """Return ids in order, those that come after `after`; the youngest, which may not be in Redis yet, are left out."""
    statement = (
        select(accepted_jobs.c.id)
        .where(accepted_jobs.c.id > after)
        .where(accepted_jobs.c.accepted_at < func.now() - timedelta(seconds=older_than_s))
        .order_by(accepted_jobs.c.id)
        .limit(limit)
    )
    return list((await connection.execute(statement)).scalars())


async def list_of_user(connection: AsyncConnection, user_id: str, *, before: str | None, limit: int) -> list[ListedJob]:
    """Return a user's jobs, newest first; those older than the id `before`, if one is given."""
    columns = (accepted_jobs.c.id, accepted_jobs.c.model)
    statement = select(*columns).where(accepted_jobs.c.user_id == user_id)
    if before is not None:
        statement = statement.where(accepted_jobs.c.id < before)
    rows = await connection.execute(statement.order_by(accepted_jobs.c.id.desc()).limit(limit))
    return [ListedJob(row.id, row.model) for row in rows]


async def remove(connection: AsyncConnection, job_ids: Sequence[str]) -> set[str]:
    """Delete jobs that have ended, and return those that were here."""
    statement = delete(accepted_jobs).where(accepted_jobs.c.id.in_(job_ids)).returning(accepted_jobs.c.id)
    return set((await connection.execute(statement)).scalars())


async def try_to_lock(connection: AsyncConnection) -> bool:
    """Become the one who restores, until the end of the transaction; False: somebody else is."""
    lock = select(func.pg_try_advisory_xact_lock(literal_column(str(_RESTORE_LOCK))))
    return bool((await connection.execute(lock)).scalar_one())
