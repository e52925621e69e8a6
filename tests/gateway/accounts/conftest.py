"""An account, a desk that deals with it, and a database that is no help."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from redis.asyncio import Redis

from gateway.accounts.passwords import Passwords
from shared.database import users
from shared.database.engine import Database, connect
from shared.database.users import Role, User
from tests.clocks import StandingClock
from tests.gateway.accounts.desk import EMAIL, PASSWORD, AccountDesk


@pytest.fixture(scope="session")
async def password_hash() -> str:
    """Of PASSWORD."""
    return await Passwords(min_length=15).hash(PASSWORD)


@pytest.fixture
async def owner(database: Database, password_hash: str) -> User:
    """Somebody who has an account with PASSWORD."""
    async with database.transaction() as connection:
        return await users.create(connection, email=EMAIL, password_hash=password_hash, role=Role.USER)


@pytest.fixture
def standing_clock() -> StandingClock:
    """The clock of the desk."""
    return StandingClock()


@pytest.fixture
def desk(database: Database, redis: Redis, standing_clock: StandingClock) -> AccountDesk:
    """Whoever deals with accounts."""
    return AccountDesk(database, redis, standing_clock)


@pytest.fixture
async def silence() -> AsyncGenerator[Database]:
    """A database that takes connections and never says a word."""
    leave = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leave.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = connect(f"postgresql://nobody@127.0.0.1:{port}/nothing", role="test")
    yield database
    await database.close()
    leave.set()
    server.close()
    await server.wait_closed()
