import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from migrations.upgrade import MigrationError, upgrade
from shared.database.engine import asyncpg_url, connect
from shared.database.tables import metadata
from tests.commands import run_module


async def test_the_migrations_lead_to_the_tables_that_the_code_knows(database_url: str) -> None:
    await upgrade(database_url)
    engine = create_async_engine(asyncpg_url(database_url))

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_many_processes_at_once_migrate_once(database_url: str) -> None:
    revisions = await asyncio.gather(*(upgrade(database_url) for _ in range(5)))
    assert len(set(revisions)) == 1
    database = connect(database_url, role="test")
    async with database.transaction() as connection:
        stored = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all()
    assert stored == [revisions[0]]
    await database.close()


async def test_a_step_that_fails_leaves_nothing_behind(database_url: str) -> None:
    database = connect(database_url, role="test")
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE jobs (in_the_way int)"))
    with pytest.raises(MigrationError, match='relation "jobs" already exists'):
        await upgrade(database_url)
    async with database.transaction() as connection:
        assert (await connection.execute(text("SELECT to_regclass('users')"))).scalar_one() is None
    await database.close()


async def test_rows_of_an_older_schema_stay_as_they_were(database_url: str) -> None:
    """Of every kind of row that 0001 knew; what is new says that nothing more is kept of them."""
    database = connect(database_url, role="test")
    await upgrade(database_url, revision="0001")
    async with database.transaction() as connection:
        await connection.execute(text("INSERT INTO users VALUES (gen_random_uuid(), 'ada@example.org', '-', 'user')"))
        await connection.execute(
            text(
                "INSERT INTO jobs SELECT gen_random_uuid(), id, 'chat', 'm', 'completed', NULL, 1, 2, 3, 4, 5, 1, 'w',"
                " 'r', now(), now() FROM users"
            )
        )
    await asyncio.gather(*(upgrade(database_url) for _ in range(3)))
    async with database.transaction() as connection:
        row = (await connection.execute(text("SELECT status, epoch, is_durable, answer FROM jobs"))).one()
    assert row == ("completed", 0, False, None)
    await database.close()


async def test_a_job_that_was_accepted_under_an_older_schema_has_no_key(database_url: str) -> None:
    database = connect(database_url, role="test")
    await upgrade(database_url, revision="0002")
    async with database.transaction() as connection:
        await connection.execute(text("INSERT INTO users VALUES (gen_random_uuid(), 'ada@example.org', '-', 'user')"))
        await connection.execute(
            text("INSERT INTO accepted_jobs SELECT gen_random_uuid(), id, 'm', 'payload', 1, now() FROM users")
        )
    await upgrade(database_url)
    async with database.transaction() as connection:
        row = (await connection.execute(text("SELECT payload, idempotency_key, fingerprint FROM accepted_jobs"))).one()
    assert row == (b"payload", None, None)
    await database.close()


async def test_the_command_says_where_the_schema_is(database_url: str, tmp_path: Path) -> None:
    for _ in range(2):
        finished = await run_module("migrations", {"DATABASE_URL": database_url}, directory=tmp_path)
        assert finished == (0, "The schema is at revision 0005.\n", "")


@pytest.mark.parametrize(
    ("database_url", "exit_code", "sentence"),
    [
        pytest.param(
            "postgresql://u:canary@127.0.0.1:1/d", 1, "Does DATABASE_URL name a PostgreSQL that runs?", id="down"
        ),
        pytest.param("mysql://u:canary@localhost/d", 2, "DATABASE_URL is wrong", id="another database"),
        pytest.param("postgresql://u:canary@h:port/d", 2, "DATABASE_URL is wrong", id="no URL"),
    ],
)
async def test_the_command_says_in_one_line_why_it_cannot(
    database_url: str, exit_code: int, sentence: str, tmp_path: Path
) -> None:
    finished = await run_module("migrations", {"DATABASE_URL": database_url}, directory=tmp_path)
    assert (finished.exit_code, finished.stdout) == (exit_code, "")
    assert sentence in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert "canary" not in finished.stderr
