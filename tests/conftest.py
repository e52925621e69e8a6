"""Fixtures for everybody: real servers, one of each per xdist worker, and real processes.

A test asks for `database_url` and `redis_url` and has both for itself. What lives longer than one test (a module's
stack, say) builds on the session's `databases`, `redis_server` and on `ProcessStarter`.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from infra.local import ports
from infra.local.logins import Logins
from migrations.upgrade import upgrade
from shared.database import engine, users
from shared.database.engine import Database
from shared.database.users import Role, User
from shared.job_queue import JobQueue
from shared.redis_client import connect
from tests.databases import Databases
from tests.faults.proxy import FaultProxy
from tests.key_leaks import immortal_keys
from tests.processes import ProcessStarter
from tests.servers import directory_for_servers, postgresql_server, valkey_server

collect_ignore = ["clients"]  # run in an environment of their own: docs/decisions/0024-real-clients.md


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """Where the servers of this worker keep their data."""
    with directory_for_servers() as directory:
        yield directory


@pytest.fixture(scope="session")
async def databases(server_directory: Path) -> AsyncIterator[Databases]:
    """A PostgreSQL server."""
    async with postgresql_server(server_directory) as databases:
        yield databases


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """The URL of a database of the test's own."""
    async with databases.fresh() as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with the schema."""
    await upgrade(database_url)
    database = engine.connect(database_url, role="test")
    yield database
    await database.close()


@pytest.fixture
async def ada(database: Database) -> User:
    """Somebody in the database."""
    async with database.transaction() as connection:
        return await users.create(connection, email="ada@example.org", password_hash="-", role=Role.USER)


@pytest.fixture(scope="session")
async def redis_logins(server_directory: Path) -> AsyncIterator[Logins]:
    """A Valkey server whose data are whatever earlier tests left, by the URL of everybody who logs in there."""
    async with valkey_server(server_directory) as logins:
        yield logins


@pytest.fixture(scope="session")
def redis_server(redis_logins: Logins) -> str:
    """The URL by which operators reach that server, and tests, who may do everything."""
    return redis_logins.operator


@pytest.fixture
async def redis_url(redis_server: str) -> str:
    """The URL of a Valkey server that is empty."""
    async with connect(redis_server, role="test") as client:
        await client.flushall()
    return redis_server


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client as the roles have it, on an empty server."""
    async with connect(redis_url, role="test") as client:
        yield client


@pytest.fixture
async def queue(redis: Redis) -> AsyncIterator[JobQueue]:
    """The queue on an empty server; whatever the test does must leave no key that stays for ever."""
    yield JobQueue(redis)
    assert await immortal_keys(redis) == []


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[FaultProxy]:
    """A way to the same server that the test can break."""
    async with FaultProxy(redis_url) as wire:
        yield wire


@pytest.fixture
async def start_process(tmp_path: Path) -> AsyncIterator[ProcessStarter]:
    """Start a role: `gateway = await start_process("gateway", {"REDIS_URL": redis_url})`."""
    async with ProcessStarter(tmp_path) as starter:
        yield starter


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()
