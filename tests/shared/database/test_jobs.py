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
from shared.transcripts import Transcript, decode_transcript, encode_transcript
from tests.finished_jobs import finished


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


async def test_of_two_ends_that_contradict_each_other_the_one_of_the_later_owner_stays(
    database: Database, ada: User
) -> None:
    """A worker that was frozen stores what it has, and so does its successor, in any order."""
    stale = finished(ada.id, epoch=7, is_durable=True, answer='{"content":"stale"}')
    right = structs.replace(stale, epoch=8, answer='{"content":"right"}', status=JobStatus.FAILED)
    for batch in ([stale], [right, stale], [stale]):
        async with database.transaction() as connection:
            await jobs.record_finished(connection, batch)
    assert await rows(database) == [structs.astuple(right)]


async def test_an_answer_is_stored_whatever_is_in_it(database: Database, ada: User) -> None:
    transcript = Transcript(content='\u0000 \u2028 \U0001f600 " \\ \\u0000')
    job = finished(ada.id, is_durable=True, answer=encode_transcript(transcript))
    async with database.transaction() as connection:
        await jobs.record_finished(connection, [job])
        found = await jobs.find(connection, job.id)
    assert found == job
    assert found is not None
    assert found.answer is not None
    assert decode_transcript(found.answer) == transcript


async def test_answers_are_forgotten_when_they_are_too_old_a_few_at_a_time(database: Database, ada: User) -> None:
    now = datetime.now(UTC)
    old = [
        finished(ada.id, is_durable=True, answer="{}", finished_at=now - timedelta(days=7, minutes=minute))
        for minute in range(1, 4)
    ]
    young = finished(ada.id, is_durable=True, answer="{}", finished_at=now - timedelta(days=6))
    async with database.transaction() as connection:
        await jobs.record_finished(connection, [*old, young])

    async def forget() -> int:
        async with database.transaction() as connection:
            return await jobs.forget_answers(connection, older_than_days=7, limit=2)

    assert [await forget() for _ in range(3)] == [2, 1, 0]
    assert {row.id: row.answer for row in await rows(database)} == {**{job.id: None for job in old}, young.id: "{}"}


async def test_one_forgets_at_a_time(database: Database, ada: User) -> None:
    old = finished(ada.id, is_durable=True, answer="{}")
    async with database.transaction() as connection:
        await jobs.record_finished(connection, [old])
    async with database.transaction() as first, database.transaction() as second:
        assert await jobs.forget_answers(first, older_than_days=1, limit=2) == 1
        assert await jobs.forget_answers(second, older_than_days=1, limit=2) == 0


async def test_a_users_jobs_are_listed_page_by_page_newest_first(database: Database, ada: User) -> None:
    made = [new_id() for _ in range(7)]
    batch = [
        finished(
            ada.id,
            id=id_,
            created_at=jobs.created(id_),
            status=JobStatus.FAILED if index % 2 else JobStatus.COMPLETED,
            is_durable=True,
            answer="{}",
        )
        for index, id_ in enumerate(made)
    ]
    async with database.transaction() as connection:
        await jobs.record_finished(connection, batch)

    async def page(before: str | None, status: JobStatus | None) -> list[FinishedJob]:
        async with database.transaction() as connection:
            return await jobs.list_of_user(connection, ada.id, before=before, status=status, limit=2)

    for status, expected in ((None, made[::-1]), (JobStatus.FAILED, made[5::-2])):
        listed: list[FinishedJob] = []
        while found := await page(listed[-1].id if listed else None, status):
            listed += found
        assert [job.id for job in listed] == expected
        assert {job.answer for job in listed} == {None}


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
