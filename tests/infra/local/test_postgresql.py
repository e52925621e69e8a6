"""The launcher keeps data safe, and keeps PostgreSQL away from root."""

import os
import signal
from pathlib import Path

import asyncpg
import psutil
import pytest

from infra.local.errors import StartFailedError
from infra.local.ports import free_port
from infra.local.postgresql import create_database, postgresql
from infra.local.program import Program, start
from infra.local.unprivileged import account_for_servers

as_root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


@pytest.fixture
def place(server_directory: Path, tmp_path: Path) -> Path:
    """A directory of the test's own that everybody may enter."""
    place = server_directory / tmp_path.name
    place.mkdir(mode=0o711)
    return place


async def launch(directory: Path, place: Path) -> tuple[Program, str]:
    return await postgresql(
        directory,
        port=free_port(),
        password="only for tests",
        log=place / "log",
        account=account_for_servers(),
        refuge=place / "refuge",
    )


async def test_what_was_committed_survives_a_kill(place: Path) -> None:
    for expected_marks in (1, 2):
        program, server_url = await launch(place / "postgresql", place)
        server = await start(program)
        await server.until_it_serves()
        connection = await asyncpg.connect(await create_database(server_url, "kept"))
        await connection.execute("CREATE TABLE IF NOT EXISTS mark (); INSERT INTO mark DEFAULT VALUES")
        assert await connection.fetchval("SELECT count(*) FROM mark") == expected_marks
        connection.terminate()
        server.send(signal.SIGQUIT)
        await server.wait()


async def test_data_of_another_version_are_left_alone(place: Path) -> None:
    program, _ = await launch(place / "postgresql", place)
    version = program.directory / "data" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(StartFailedError, match="is of PostgreSQL 17, this is 18: move it away"):
        await launch(place / "postgresql", place)


@as_root_only
async def test_root_starts_it_as_nobody(place: Path) -> None:
    program, _ = await launch(place / "postgresql", place)
    server = await start(program)
    await server.until_it_serves()
    assert psutil.Process(server.pid).username() == "nobody"
    assert await server.stop() == 0


@as_root_only
async def test_where_nobody_may_not_go_it_lives_elsewhere(place: Path) -> None:
    """As under root's own home, which is closed to others."""
    home = place / "home"
    home.mkdir(mode=0o700)
    for _ in range(2):
        program, _ = await launch(home / "postgresql", place)
        assert program.directory.parent == place / "refuge"
        assert (home / "postgresql").resolve() == program.directory
        server = await start(program)
        await server.until_it_serves()
        assert await server.stop() == 0
