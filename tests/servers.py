"""Real servers for tests, each with its data under a directory that other users may enter."""

import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from infra.local import ports
from infra.local.logins import Logins, Passwords
from infra.local.postgresql import postgresql
from infra.local.program import start
from infra.local.unprivileged import account_for_servers
from infra.local.valkey import valkey
from tests.databases import Databases


@contextmanager
def directory_for_servers() -> Generator[Path]:
    """Give a new directory that is gone at the end; unlike pytest's own, other users may enter it."""
    directory = Path(tempfile.mkdtemp(prefix="deepersensor-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@asynccontextmanager
async def postgresql_server(directory: Path) -> AsyncGenerator[Databases]:
    """Run a PostgreSQL inside the block."""
    program, url = await postgresql(
        directory / "postgresql",
        port=ports.free_port(),
        password=secrets.token_hex(16),
        log=directory / "postgresql.log",
        account=account_for_servers(),
        durable=False,
    )
    server = await start(program)
    try:
        await server.until_it_serves()
        yield Databases(url)
    finally:
        await server.stop()


@asynccontextmanager
async def valkey_server(directory: Path) -> AsyncGenerator[Logins]:
    """Run a Valkey inside the block, and give the URL of everybody who logs in there."""
    program, logins = valkey(
        directory / "valkey", port=ports.free_port(), passwords=Passwords.new(), log=directory / "valkey.log"
    )
    server = await start(program)
    try:
        await server.until_it_serves()
        yield logins
    finally:
        await server.stop()
