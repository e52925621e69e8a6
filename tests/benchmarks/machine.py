"""Describes where and with what the figures were taken."""

import asyncio
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import psutil

_LIBRARIES = ("litestar", "uvicorn", "uvloop", "httptools", "arq", "redis", "hiredis", "httpx", "aiohttp", "msgspec")
_VERSIONS_OF_PROGRAMS = {
    "nginx": ("nginx", "-v"),
    "cc": ("cc", "--version"),
    "commit": ("git", "describe", "--always", "--dirty"),
}


async def describe_machine(cores: Sequence[int]) -> list[str]:
    """Return lines that name processor, memory, system and versions; `cores` are those in use."""
    memory_gb = psutil.virtual_memory().total / 1e9
    load_1, load_5, _ = os.getloadavg()
    programs = [f"{name} {await _first_line(*command)}" for name, command in _VERSIONS_OF_PROGRAMS.items()]
    return [
        f"{_processor()}, {len(cores)} of {os.cpu_count()} cores, {memory_gb:.0f} GB, {platform.platform()}",
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES),
        ", ".join(programs),
        f"load average before the run: {load_1:.2f} (1 min), {load_5:.2f} (5 min)",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


async def _first_line(*command: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except FileNotFoundError:
        return "not there"
    output, _ = await process.communicate()
    return output.decode().partition("\n")[0].strip()
