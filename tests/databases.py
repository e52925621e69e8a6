"""Hands out databases of a real PostgreSQL server."""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from signal import Signals

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.local.logins import Logins, Passwords
from migrations.roles import roles_of
from migrations.settings import RoleSettings
from migrations.upgrade import upgrade
from shared.database.engine import Database


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

    @asynccontextmanager
    async def frozen(self) -> AsyncGenerator[None]:
        """Stop the server and all its processes inside the block: connections stay open, and nothing answers."""
        connection = await asyncpg.connect(self.server_url)
        server = _parent(await connection.fetchval("SELECT pg_backend_pid()"))
        await connection.close()
        _signal(server, signal.SIGSTOP)  # before its children, so that it makes no more of them
        try:
            for child in _children(server):
                _signal(child, signal.SIGSTOP)
            yield
        finally:
            for process in (*_children(server), server):
                _signal(process, signal.SIGCONT)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


async def migrated(owner_url: str) -> Logins:
    """Bring a database's schema up to date, and return who logs in there, under roles that are named after it."""
    logins = Logins.named(owner_url, Passwords.new(), prefix=owner_url.rpartition("/")[2] + "_")
    settings = RoleSettings(gateway_database_url=logins.gateway, worker_database_url=logins.worker)
    await upgrade(owner_url, roles=roles_of(settings))
    return logins


class SwitchedDatabase(Database):
    """Leads to one database or another, and counts how often it was asked."""

    def __init__(self, target: Database) -> None:
        self.target = target
        self.asked = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection]:
        self.asked += 1
        async with self.target.transaction() as connection:
            yield connection


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _signal(process: int, signal_: Signals) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(process, signal_)
