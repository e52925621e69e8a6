"""A worker in which something goes wrong that nobody foresaw ends, so that it is started again."""

import os
import subprocess
import sys

HANG_S = 30.0  # a limit for hanging, not an expectation
PROGRAM = """
import asyncio
from worker.main import vital

async def stays():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def fails():
    await asyncio.sleep(0)
    raise ValueError("nobody foresaw this")

async def work():
    task = asyncio.create_task(stays())
    await asyncio.sleep(0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(vital(fails()))

asyncio.run(work())
"""


def test_a_fault_ends_the_process_whatever_else_does_not_end() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=HANG_S, check=False)

    assert ended.returncode == os.EX_SOFTWARE
    assert "nobody foresaw this" in ended.stderr
