"""What gateways and workers may do in the database, and what not, asked of PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from infra.local.logins import Logins, Passwords, logged_in
from migrations.roles import roles_of
from migrations.settings import RoleSettings
from migrations.upgrade import MigrationError, upgrade
from shared.database.tables import metadata
from tests.commands import run_module
from tests.databases import Databases, migrated

TABLES = sorted(metadata.tables)
CHANGES_OF_THE_SCHEMA = (
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "DROP TABLE jobs",
    "TRUNCATE jobs",
    "ALTER TABLE jobs ADD COLUMN mine int",
    "CREATE INDEX mine ON jobs (id)",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT rolpassword FROM pg_authid",
    "SELECT * FROM alembic_version",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
)
NOT_OF_A_WORKER = (
    "SELECT password_hash FROM users",
    "SELECT email FROM users",
    "UPDATE users SET role = 'admin'",
    "UPDATE users SET disabled_at = NULL",
    "SELECT answer FROM jobs",
    "UPDATE jobs SET answer = ''",
    *(
        f"UPDATE jobs SET {column} = NULL"
        for column in ("id", "user_id", "kind", "model", "request_id", "created_at", "is_durable", "api_key_id")
    ),
    "SELECT user_id FROM jobs",
    *(f"SELECT * FROM {table}" for table in TABLES),
    *(f"DELETE FROM {table}" for table in TABLES),
)


@pytest.fixture(scope="module")
async def logins(databases: Databases) -> AsyncIterator[Logins]:
    """A database with the schema."""
    async with databases.fresh() as url:
        yield await migrated(url)


async def refusal(url: str, statement: str) -> str:
    """Return the SQLSTATE with which a statement is refused; empty: it is not."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)  # pyright: ignore[reportAttributeAccessIssue]  asyncpg sets it
    finally:
        await connection.close()
    return ""


@pytest.mark.parametrize("statement", CHANGES_OF_THE_SCHEMA)
async def test_nobody_who_runs_changes_the_schema(logins: Logins, statement: str) -> None:
    assert [await refusal(url, statement) for url in (logins.gateway, logins.worker)] == ["42501", "42501"]


async def test_a_gateway_works_with_the_rows_of_every_table(logins: Logins) -> None:
    connection = await asyncpg.connect(logins.gateway)
    asked = "SELECT privilege FROM unnest($2::text[]) privilege WHERE has_table_privilege($1, privilege)"
    wanted = ["DELETE", "INSERT", "SELECT", "UPDATE"]
    every = [*wanted, "TRUNCATE", "REFERENCES", "TRIGGER"]
    allowed = {
        table: sorted(row["privilege"] for row in await connection.fetch(asked, table, every)) for table in TABLES
    }
    await connection.close()
    assert allowed == dict.fromkeys(TABLES, wanted)


@pytest.mark.parametrize("statement", NOT_OF_A_WORKER)
async def test_a_worker_sees_and_changes_nothing_but_ends_of_jobs(logins: Logins, statement: str) -> None:
    assert await refusal(logins.worker, statement) == "42501"


async def test_a_password_is_renewed_and_a_grant_of_old_withdrawn(database_url: str) -> None:
    old = await migrated(database_url)
    role = urlsplit(old.worker).username
    owner = await asyncpg.connect(database_url)
    await owner.execute(f'GRANT DELETE, SELECT (email) ON users TO "{role}"')
    await owner.close()
    new = await migrated(database_url)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(old.worker)
    for statement in ("DELETE FROM users", "SELECT email FROM users"):
        assert await refusal(new.worker, statement) == "42501"


async def test_passwords_are_kept_as_digests_alone(databases: Databases, database_url: str) -> None:
    passwords = Passwords.new()
    logins = Logins.named(database_url, passwords, prefix="kept_")
    settings = RoleSettings(gateway_database_url=logins.gateway)
    await upgrade(database_url, roles=roles_of(settings))
    server = await asyncpg.connect(databases.server_url)
    kept = await server.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'kept_gateway'")
    await server.close()
    assert kept.startswith("SCRAM-SHA-256$4096:")
    assert passwords.gateway not in kept


async def test_an_owner_who_may_make_no_roles_uses_those_that_there_are(
    databases: Databases, database_url: str
) -> None:
    """As at a hosted PostgreSQL; who is missing is named."""
    server = await asyncpg.connect(databases.server_url)
    await server.execute("CREATE ROLE modest LOGIN PASSWORD 'modest'")
    await server.execute("CREATE ROLE made_by_hand LOGIN PASSWORD 'by-hand'")
    await server.execute(f"ALTER DATABASE {database_url.rpartition('/')[2]} OWNER TO modest")
    await server.close()
    modest_url = logged_in(database_url, "modest", "modest")
    by_hand, missing = (logged_in(database_url, name, "by-hand") for name in ("made_by_hand", "nobody"))

    await upgrade(modest_url, roles=roles_of(RoleSettings(gateway_database_url=by_hand)))
    assert await refusal(by_hand, "SELECT * FROM users") == ""
    with pytest.raises(MigrationError, match="There is no role nobody, and modest may not make one"):
        await upgrade(modest_url, roles=roles_of(RoleSettings(gateway_database_url=missing)))


async def test_without_roles_of_their_own_everybody_is_the_owner(database_url: str, tmp_path: Path) -> None:
    alone = {"DATABASE_URL": database_url}
    for environment in (alone, alone | {"GATEWAY_DATABASE_URL": database_url, "WORKER_DATABASE_URL": database_url}):
        finished = await run_module("migrations", environment, directory=tmp_path)
        assert (finished.exit_code, finished.stderr) == (0, "")
    assert await refusal(database_url, "CREATE TABLE mine (id int)") == ""
