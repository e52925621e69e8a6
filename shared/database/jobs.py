"""The table `jobs`: one row of metadata and usage for every job that ended. No prompt and no answer is in it."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Struct
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database.tables import jobs
from shared.jobs import JobKind, JobStatus


class FinishedJob(Struct, frozen=True):
    """One row; its fields are the table's columns."""

    id: str
    user_id: str
    kind: JobKind
    model: str
    status: JobStatus
    error_code: str | None  # None: it completed
    prompt_tokens: int
    completion_tokens: int
    queue_ms: int  # admission to first claim, or to the end if there was none
    first_token_ms: int | None  # None: nothing was answered
    total_ms: int
    attempts: int  # 0: no worker ever had it
    worker: str | None
    request_id: str
    created_at: datetime  # of admission; aware
    finished_at: datetime  # aware


# The rows travel as one JSON parameter: any number of them is the same statement. Their users are locked against
# deletion first, because one deleted user's row would otherwise refuse the whole batch.
_columns = [column.name for column in jobs.columns]
_INSERT = text(
    f"""
    INSERT INTO jobs ({", ".join(_columns)})
    SELECT {", ".join(f"finished.{name}" for name in _columns)}
    FROM json_populate_recordset(NULL::jobs, CAST(:rows AS json)) AS finished
    JOIN users ON users.id = finished.user_id
    FOR KEY SHARE OF users
    ON CONFLICT (id) DO NOTHING
    """  # noqa: S608  names of our own columns
)


async def find_owner(connection: AsyncConnection, job_id: str) -> str | None:
    """Return whose a job was; None: no job of this id has ended here."""
    owner = (await connection.execute(select(jobs.c.user_id).where(jobs.c.id == job_id))).scalar_one_or_none()
    return None if owner is None else str(owner)


async def record_finished(connection: AsyncConnection, rows: Sequence[FinishedJob]) -> None:
    """Insert the rows; those that are there already, or whose user is gone, are left out. Safe to repeat."""
    await connection.execute(_INSERT, {"rows": msgspec.json.encode(rows).decode()})
