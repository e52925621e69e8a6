"""A database with the schema, and somebody in it."""

from collections.abc import AsyncGenerator

import pytest

from migrations.upgrade import upgrade
from shared.database import users
from shared.database.engine import Database, connect
from shared.database.users import Role, User


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    """A database with the schema."""
    await upgrade(database_url)
    database = connect(database_url, role="test")
    yield database
    await database.close()


@pytest.fixture
async def ada(database: Database) -> User:
    """A user."""
    async with database.transaction() as connection:
        return await users.create(connection, email="ada@example.org", password_hash="-", role=Role.USER)
