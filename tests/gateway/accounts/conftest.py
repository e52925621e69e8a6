"""Accounts on a database of the test's own."""

from collections.abc import AsyncGenerator

import pytest

from migrations.upgrade import upgrade
from shared.database.engine import Database, connect


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    """A database with the schema."""
    await upgrade(database_url)
    database = connect(database_url, role="test")
    yield database
    await database.close()
