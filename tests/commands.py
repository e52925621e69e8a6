"""Runs the product's own commands to their end."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.environment import inherited_variables

_HANG_S = 60.0


class Finished(NamedTuple):
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


async def run_module(
    module: str, environment: Mapping[str, str], *arguments: str, directory: Path, stdin: str = ""
) -> Finished:
    """Run `python -m <module> <arguments>` with no other settings than `environment`, and return when it has ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        env={**inherited_variables(), **environment},
        cwd=directory,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_HANG_S):
            stdout, stderr = await process.communicate(stdin.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Finished(process.returncode or 0, stdout.decode(), stderr.decode())
