from sqlalchemy import delete

from shared.database import accepted_jobs
from shared.database.engine import Database
from shared.database.tables import users as user_table
from shared.database.users import User
from shared.idempotency import Idempotency
from shared.ids import new_id
from shared.jobs import Job
from tests.jobs import make_job

FIRST = "00000000-0000-0000-0000-000000000000"


async def accept(
    database: Database, user: User, *, request: bytes = b"{}", idempotency: Idempotency | None = None
) -> Job:
    job = make_job(user=user.id, request=request, is_durable=True)
    async with database.transaction() as connection:
        assert await accepted_jobs.accept(connection, job, queue_timeout_ms=5_000, idempotency=idempotency)
    return job


async def ids(database: Database, *, after: str = FIRST, older_than_s: float = 0, limit: int = 10) -> list[str]:
    async with database.transaction() as connection:
        return await accepted_jobs.list_ids(connection, after=after, older_than_s=older_than_s, limit=limit)


async def test_a_job_comes_back_as_it_was_accepted(database: Database, ada: User) -> None:
    job = await accept(database, ada, request=b'{"content": "\\u0000 \xff \x00"}')
    async with database.transaction() as connection:
        (found,) = await accepted_jobs.find(connection, [job.id, new_id()])
    assert (found.job, found.queue_timeout_ms, found.idempotency) == (job, 5_000, None)


async def test_it_comes_back_with_what_it_is_known_by(database: Database, ada: User) -> None:
    key = Idempotency.of("key", surface="/v1", user_id=ada.id, request=b"{}")
    job = await accept(database, ada, idempotency=key)
    async with database.transaction() as connection:
        (found,) = await accepted_jobs.find(connection, [job.id])
    assert found.idempotency == key


async def test_a_job_of_nobody_is_not_accepted(database: Database) -> None:
    async with database.transaction() as connection:
        job = make_job(user=new_id())
        assert not await accepted_jobs.accept(connection, job, queue_timeout_ms=1, idempotency=None)
    assert await ids(database) == []


async def test_all_are_found_page_by_page_but_for_the_youngest(database: Database, ada: User) -> None:
    jobs = [await accept(database, ada) for _ in range(3)]
    first_page = await ids(database, limit=2)
    assert first_page == [job.id for job in jobs[:2]]
    assert await ids(database, after=first_page[-1]) == [jobs[2].id]
    assert await ids(database, older_than_s=3600) == []


async def test_a_users_jobs_are_listed_newest_first(database: Database, ada: User) -> None:
    jobs = [await accept(database, ada) for _ in range(3)]
    async with database.transaction() as connection:
        listed = await accepted_jobs.list_of_user(connection, ada.id, before=None, limit=2)
        rest = await accepted_jobs.list_of_user(connection, ada.id, before=listed[-1].id, limit=2)
        others = await accepted_jobs.list_of_user(connection, new_id(), before=None, limit=2)
    assert [(job.id, job.model) for job in (*listed, *rest)] == [(job.id, job.model) for job in jobs[::-1]]
    assert others == []


async def test_an_ended_job_is_removed_with_its_prompt(database: Database, ada: User) -> None:
    ended, other = await accept(database, ada), await accept(database, ada)
    async with database.transaction() as connection:
        await accepted_jobs.remove(connection, [ended.id])
    assert await ids(database) == [other.id]


async def test_a_users_jobs_go_with_the_user(database: Database, ada: User) -> None:
    await accept(database, ada)
    async with database.transaction() as connection:
        await connection.execute(delete(user_table))
    assert await ids(database) == []


async def test_one_restores_at_a_time(database: Database) -> None:
    async with database.transaction() as first, database.transaction() as second:
        assert await accepted_jobs.try_to_lock(first)
        assert not await accepted_jobs.try_to_lock(second)
    async with database.transaction() as third:
        assert await accepted_jobs.try_to_lock(third)
