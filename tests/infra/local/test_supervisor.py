"""Programs are kept running, and all of them end with the supervisor."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from infra.local.errors import StartFailedError
from infra.local.ports import free_port
from infra.local.probes import http_fault
from infra.local.program import Program
from infra.local.supervisor import Supervisor
from tests.environment import CHECKOUT
from tests.waiting import wait_until


def stand_in(directory: Path, name: str, *words: str) -> Program:
    port = free_port()
    return Program(
        name=name,
        argv=(sys.executable, "-m", "tests.infra.local.stand_in", *words),
        environment={"PYTHONPATH": str(CHECKOUT), "APP_HOST": "127.0.0.1", "APP_PORT": str(port), "NAME": name},
        directory=directory,
        log=directory / f"{name}.log",
        fault=lambda _: http_fault(f"http://127.0.0.1:{port}/health"),
    )


def pid_of(program: Program) -> int:
    return int(program.log.read_text().split()[-1])


async def test_started_programs_serve(tmp_path: Path) -> None:
    programs = [stand_in(tmp_path, name) for name in ("first", "second")]
    async with Supervisor(print) as supervisor:
        await supervisor.start(*programs)
        assert [await program.fault(0) for program in programs] == [None, None]


async def test_a_program_that_dies_is_started_again_ever_more_slowly_and_said_so(tmp_path: Path) -> None:
    said: list[str] = []
    program = stand_in(tmp_path, "gateway-1")
    async with Supervisor(said.append) as supervisor:
        await supervisor.start(program)
        for deaths in (1, 2, 3):
            os.kill(pid_of(program), signal.SIGKILL)
            await wait_until(lambda n=deaths: said.count("gateway-1 is back") == n, description="it is back")
        assert await program.fault(0) is None
    deaths_said = [line for line in said if line != "gateway-1 is back"]
    assert all(line.startswith("gateway-1 was ended by SIGKILL") for line in deaths_said)
    assert [line.partition("; ")[2] for line in deaths_said] == [
        f"starting it again in {pause} s" for pause in ("0.25", "0.5", "1")
    ]


async def test_a_program_that_cannot_be_revived_yet_is_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    need = tmp_path / "need"
    need.touch()
    program = stand_in(tmp_path, "gateway-1", "fail-without", str(need))
    async with Supervisor(said.append) as supervisor:
        await supervisor.start(program)
        need.unlink()
        os.kill(pid_of(program), signal.SIGKILL)
        await wait_until(lambda: len(said) == 2, description="it has failed to start")
        assert f"ended with code 1: {need} is missing" in said[1]
        need.touch()
        await wait_until(lambda: "gateway-1 is back" in said, description="it is back")


async def test_leaving_ends_the_youngest_first(tmp_path: Path) -> None:
    book = tmp_path / "book"
    async with Supervisor(print) as supervisor:
        for name in ("postgresql", "worker", "gateway"):
            await supervisor.start(stand_in(tmp_path, name, "sign-off-in", str(book)))
    assert book.read_text().split() == ["gateway", "worker", "postgresql"]


async def test_a_killed_supervisor_announces_no_restart(tmp_path: Path) -> None:
    """As after a second Ctrl-C."""
    said: list[str] = []
    program, slow = stand_in(tmp_path, "worker-1"), stand_in(tmp_path, "gateway-1")
    async with Supervisor(said.append) as supervisor:
        await supervisor.start(program)
        await supervisor.start(slow)
        supervisor.kill()
        for ended in (program, slow):
            await wait_until(lambda ended=ended: not psutil.pid_exists(pid_of(ended)), description="it is gone")
    assert not said


async def test_when_one_does_not_start_the_others_end(tmp_path: Path) -> None:
    good, sibling = stand_in(tmp_path, "good"), stand_in(tmp_path, "sibling")
    bad = stand_in(tmp_path, "bad", "fail-at-start")
    async with Supervisor(print) as supervisor:
        await supervisor.start(good)
        with pytest.raises(StartFailedError, match=r"^bad ended with code 1: JWT_SECRET is not set.*bad\.log\)$"):
            await supervisor.start(bad, sibling)
    assert "Connection refused" in (await sibling.fault(0) or "")
    assert "Connection refused" in (await good.fault(0) or "")
