from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import structs
from sqlalchemy import Row, delete, select

from shared.database import jobs
from shared.database.engine import Database
from shared.database.jobs import FinishedJob
from shared.database.tables import jobs as table
from shared.database.tables import users as user_table
from shared.database.users import User
from shared.ids import new_id
from shared.jobs import JobKind, JobStatus

NOW = datetime(2026, 11, 23, 12, 0, 0, 123_456, tzinfo=UTC)


def finished(user_id: str, **changes: Any) -> FinishedJob:  # noqa: ANN401
    job = FinishedJob(
        id=new_id(),
        user_id=user_id,
        kind=JobKind.CHAT,
        model="llama3.2:3b",
        status=JobStatus.COMPLETED,
        error_code=None,
        prompt_tokens=26,
        completion_tokens=298,
        queue_ms=3,
        first_token_ms=120,
        total_ms=5043,
        attempts=1,
        worker="gpu-1",
        request_id="0d3f",
        created_at=NOW,
        finished_at=NOW + timedelta(seconds=5),
    )
    return structs.replace(job, **changes)


async def rows(database: Database) -> list[Row[Any]]:
    async with database.transaction() as connection:
        return list((await connection.execute(select(table).order_by(table.c.id))).all())


async def test_a_job_is_stored_as_it_ended(database: Database, ada: User) -> None:
    completed = finished(ada.id)
    failed = finished(
        ada.id,
        kind=JobKind.EMBED,
        model="name with 'quotes' \"and\" \\ and ü",
        status=JobStatus.FAILED,
        error_code="upstream_timeout",
        first_token_ms=None,
        worker=None,
        attempts=0,
    )
    async with database.transaction() as connection:
        await jobs.record_finished(connection, [completed, failed])
    assert await rows(database) == [structs.astuple(completed), structs.astuple(failed)]


async def test_a_batch_can_be_repeated(database: Database, ada: User) -> None:
    """A worker that does not know whether its commit arrived sends the rows again."""
    batch = [finished(ada.id) for _ in range(3)]
    for _ in range(2):
        async with database.transaction() as connection:
            await jobs.record_finished(connection, batch)
    assert len(await rows(database)) == 3


async def test_a_job_of_nobody_does_not_refuse_the_others(database: Database, ada: User) -> None:
    batch = [finished(ada.id), finished(new_id()), finished(ada.id)]
    async with database.transaction() as connection:
        await jobs.record_finished(connection, batch)
    assert [row.id for row in await rows(database)] == [batch[0].id, batch[2].id]


async def test_no_jobs_are_no_rows(database: Database) -> None:
    async with database.transaction() as connection:
        await jobs.record_finished(connection, [])
    assert await rows(database) == []


async def test_a_users_jobs_go_with_the_user(database: Database, ada: User) -> None:
    async with database.transaction() as connection:
        await jobs.record_finished(connection, [finished(ada.id)])
        await connection.execute(delete(user_table))
    assert await rows(database) == []


def test_a_row_has_the_columns_of_the_table() -> None:
    assert [field.name for field in structs.fields(FinishedJob)] == [column.name for column in table.columns]
