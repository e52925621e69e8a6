"""Processes start, serve and end as their description says."""

import signal
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra.local.errors import StartFailedError
from infra.local.program import Program, run, start
from tests.environment import CHECKOUT
from tests.waiting import wait_until


def python(directory: Path, code: str) -> Program:
    return Program(
        name="python", argv=(sys.executable, "-c", code), environment={}, directory=directory, log=directory / "log"
    )


async def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    deaf = python(
        tmp_path,
        "import signal; signal.signal(15, lambda *_: None); print('deaf', flush=True)\nwhile 1: signal.pause()",
    )
    running = await start(replace(deaf, stop_timeout_s=0.1))
    await wait_until(lambda: "deaf" in deaf.log.read_text(), description="it does not hear SIGTERM")
    assert await running.stop() == -signal.SIGKILL


async def test_what_it_leaves_in_its_group_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']).pid)"
    )
    running = await start(python(tmp_path, code))
    assert await running.wait() == 0
    child = int(running.program.log.read_text())
    await wait_until(lambda: not is_running(child), description="the child is gone")


async def test_one_that_does_its_work_is_waited_for(tmp_path: Path) -> None:
    await run(python(tmp_path, "print('done')"))
    assert (tmp_path / "log").read_text() == "done\n"


async def test_one_that_fails_at_its_work_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(StartFailedError, match=r"^python ended with code 1: ValueError: no such table \(log: .*\)$"):
        await run(python(tmp_path, "raise ValueError('no such table')"))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        pytest.param(
            ['{"level":"ERROR","event":"disk_full","error":"no space"}', '{"level":"INFO","event":"stopped"}'],
            "disk_full: no space",
            id="the last error, not what was said after it",
        ),
        pytest.param(['{"level":"INFO","event":"stopped"}'], "stopped", id="an event without its fields"),
        pytest.param(
            ['{"level":"ERROR","event":"failed","exception":"Traceback\\nValueError: x"}'],
            "failed: ValueError: x",
            id="the last line of an exception",
        ),
        pytest.param(
            ['{"level":"ERROR","event":"failed"}', "JWT_SECRET is not set"], "JWT_SECRET is not set", id="words"
        ),
    ],
)
async def test_the_last_words_of_a_log_in_json_are_told_in_words(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(StartFailedError, match=rf"^python ended with code 1: {words} \(log: "):
        await run(python(tmp_path, f"print({chr(10).join(lines)!r}); exit(1)"))


async def test_what_was_said_before_a_signal_is_not_told_as_its_cause(tmp_path: Path) -> None:
    code = "import os; print('all is well', flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(StartFailedError, match=r"^python was ended by SIGKILL, its log ends with: all is well \(log: "):
        await run(python(tmp_path, code))


async def test_one_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartFailedError, match="No such file or directory: no-such-program"):
        await start(replace(python(tmp_path, ""), argv=("no-such-program",)))


async def test_one_that_never_serves_is_told_with_what_is_missing(tmp_path: Path) -> None:
    async def fault(_pid: int) -> str:
        return "the sky is not blue"

    running = await start(replace(python(tmp_path, "import signal; signal.pause()"), fault=fault, start_timeout_s=0.1))
    with pytest.raises(StartFailedError, match="python does not come up: the sky is not blue"):
        await running.until_it_serves()
    await running.stop()


async def test_it_dies_when_whoever_started_it_is_killed(tmp_path: Path) -> None:
    starter = f"""
import asyncio, sys
from pathlib import Path
from infra.local.program import Program, start

async def main():
    directory = Path({str(tmp_path)!r})
    command = (sys.executable, "-c", "import signal; signal.pause()")
    child = Program(name="child", argv=command, environment={{}}, directory=directory, log=directory / "child.log")
    print((await start(child)).pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    program = replace(python(tmp_path, starter), environment={"PYTHONPATH": str(CHECKOUT)})
    running = await start(program)
    child = int(await wait_until(program.log.read_text, description="the child has started"))
    assert is_running(child)
    running.send(signal.SIGKILL)
    await wait_until(lambda: not is_running(child), description="the child is gone")
    await running.wait()


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
