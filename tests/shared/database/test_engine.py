import asyncio
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from shared.database import users
from shared.database.engine import (
    ACQUIRE_TIMEOUT_S,
    COMMAND_TIMEOUT_S,
    POOL_OVERFLOW,
    POOL_SIZE,
    Database,
    asyncpg_url,
    connect,
)
from shared.database.users import Role
from shared.errors import StoreUnavailableError
from shared.settings import SettingsError
from tests.databases import Databases, migrated

HANG_S = ACQUIRE_TIMEOUT_S + COMMAND_TIMEOUT_S + 5.0  # a limit for hanging, not an expectation


@pytest.mark.parametrize(
    ("database_url", "expected"),
    [
        pytest.param("postgres://u:p@h:1/d", "postgresql+asyncpg://u:p@h:1/d", id="postgres"),
        pytest.param("postgresql://u:p@h:1/d", "postgresql+asyncpg://u:p@h:1/d", id="postgresql"),
        pytest.param("postgresql+asyncpg://u:p@h:1/d", "postgresql+asyncpg://u:p@h:1/d", id="with the driver"),
        pytest.param("postgres://u@/d?host=/run/pg", "postgresql+asyncpg://u@/d?host=%2Frun%2Fpg", id="a unix socket"),
        pytest.param("postgres://u@h/d?sslmode=require", "postgresql+asyncpg://u@h/d?ssl=require", id="sslmode"),
        pytest.param("postgres://u:p%40%2F@h/d", "postgresql+asyncpg://u:p%40%2F@h/d", id="an escaped password"),
    ],
)
def test_every_spelling_of_a_url_is_understood(database_url: str, expected: str) -> None:
    assert asyncpg_url(database_url).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    "database_url", ["postgres://h:port/d", "postgres://[::1", "postgres://h/d?application_name=x"]
)
def test_a_url_that_would_not_work_is_a_wrong_setting(database_url: str) -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL is wrong: .* Example: DATABASE_URL="):
        asyncpg_url(database_url)


async def test_an_error_does_not_quote_what_was_to_be_stored(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1 / 0, CAST(:prompt AS text)"), {"prompt": "a secret"})

    assert "division by zero" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("change", ["another password", "another database"])
async def test_a_login_that_is_not_good_any_more_is_unavailable(database_url: str, change: str) -> None:
    """Its password was changed under a process that runs; whoever asks meanwhile is to come back."""
    logins = await migrated(database_url)
    url = make_url(logins.gateway)
    changed = url.set(password="another") if change == "another password" else url.set(database="another")
    database = connect(changed.render_as_string(hide_password=False), role="test")
    with pytest.raises(StoreUnavailableError):
        await database.ping()
    await database.close()


async def test_a_transaction_commits_at_its_end(database: Database) -> None:
    async with database.transaction() as connection:
        await users.create(connection, email="ada@example.org", password_hash="-", role=Role.USER)
    async with database.transaction() as connection:
        assert await users.find_by_email(connection, "ada@example.org")


async def test_a_transaction_that_fails_leaves_nothing_behind(database: Database) -> None:
    async def fail_half_way() -> None:
        async with database.transaction() as connection:
            await users.create(connection, email="ada@example.org", password_hash="-", role=Role.USER)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_half_way()
    async with database.transaction() as connection:
        assert await users.find_by_email(connection, "ada@example.org") is None


async def test_a_server_that_is_not_there_is_unavailable(free_port: int) -> None:
    database = connect(f"postgresql://nobody@127.0.0.1:{free_port}/nothing", role="test")
    with pytest.raises(StoreUnavailableError):
        await database.ping()


async def test_a_unix_socket_that_is_not_there_is_unavailable() -> None:
    database = connect("postgresql://nobody@/nothing?host=/nowhere", role="test")
    with pytest.raises(StoreUnavailableError):
        await database.ping()


async def test_a_connection_that_is_cut_is_unavailable_once(database: Database, database_url: str) -> None:
    """What hangs up in the middle fails what it interrupts; the pool has a new connection for the next one."""
    other = connect(database_url, role="other")

    async def be_cut_half_way() -> None:
        async with database.transaction() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            async with other.transaction() as killer:
                await killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            await connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailableError):
        await be_cut_half_way()
    await database.ping()
    await other.close()


async def test_a_server_that_restarts_is_not_noticed_by_the_next_one(database: Database, database_url: str) -> None:
    await database.ping()
    other = connect(database_url, role="other")
    async with other.transaction() as killer:
        await killer.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'deepersensor test'")
        )
    await database.ping()
    await other.close()


async def test_a_statement_that_takes_too_long_is_given_up(database: Database) -> None:
    async def sleep() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = 1"))
            await connection.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(StoreUnavailableError):
        await sleep()


async def test_a_server_that_freezes_is_unavailable_until_it_goes_on(databases: Databases, database: Database) -> None:
    """Its own deadlines do not run then, and a connection that is open stays open."""
    await database.ping()
    async with databases.frozen(), asyncio.timeout(HANG_S) as hang:
        with pytest.raises(StoreUnavailableError):
            await database.ping()
        assert not hang.expired()
    await database.ping()


async def test_a_server_that_freezes_in_the_middle_is_unavailable(databases: Databases, database: Database) -> None:
    async with AsyncExitStack() as until_the_end:

        async def be_frozen_half_way() -> None:
            async with database.transaction() as connection:
                await connection.execute(text("SELECT 1"))
                await until_the_end.enter_async_context(databases.frozen())
                await connection.execute(text("SELECT 1"))

        async with asyncio.timeout(HANG_S) as hang:
            with pytest.raises(StoreUnavailableError):
                await be_frozen_half_way()
            assert not hang.expired()
    await database.ping()


async def test_a_server_that_is_frozen_from_the_start_is_unavailable(databases: Databases, database: Database) -> None:
    async with databases.frozen(), asyncio.timeout(HANG_S) as hang:
        with pytest.raises(StoreUnavailableError):
            await database.ping()
        assert not hang.expired()


async def test_whoever_gives_up_on_a_frozen_server_is_not_held_back(databases: Databases, database: Database) -> None:
    async with AsyncExitStack() as until_the_end:

        async def give_up() -> None:
            async with asyncio.timeout(None) as patience, database.transaction() as connection:
                await connection.execute(text("SELECT 1"))
                await until_the_end.enter_async_context(databases.frozen())
                patience.reschedule(asyncio.get_running_loop().time() + 0.1)
                await connection.execute(text("SELECT 1"))

        async with asyncio.timeout(HANG_S) as hang:
            with pytest.raises(TimeoutError):
                await give_up()
            assert not hang.expired()
    await database.ping()


async def test_every_statement_has_a_deadline(database: Database) -> None:
    async with database.transaction() as connection:
        assert (await connection.execute(text("SHOW statement_timeout"))).scalar_one() == "5s"
        assert (await connection.execute(text("SHOW idle_in_transaction_session_timeout"))).scalar_one() == "10s"


async def test_a_mistake_in_sql_is_a_bug_and_no_outage(database: Database) -> None:
    with pytest.raises(DBAPIError):
        async with database.transaction() as connection:
            await connection.execute(text("SELEKT"))


async def test_more_transactions_than_connections_take_turns(database: Database) -> None:
    await asyncio.gather(*(database.ping() for _ in range(2 * (POOL_SIZE + POOL_OVERFLOW))))
