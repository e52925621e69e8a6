"""Hands out databases of a real PostgreSQL server."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count

import asyncpg


class Databases:
    """A running server that makes fresh databases in a few milliseconds, each a copy of one with the schema."""

    def __init__(self, server_url: str) -> None:
        self.server_url = server_url
        """The URL of the server's own database, for a test that wants the server itself."""
        self._numbers = count(1)

    @asynccontextmanager
    async def fresh(self) -> AsyncGenerator[str]:
        """Give the URL of a new database, dropped at the end whoever still uses it."""
        name = f"test_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name}")
        try:
            yield self.server_url.rpartition("/")[0] + f"/{name}"
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
