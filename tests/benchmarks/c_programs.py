"""Compiles the load generator and the stand-in for Ollama, which are C so that they leave the processor to what is
measured: both together take about 10 µs per token, where a Python client alone takes 50.
"""

import asyncio
import shutil
import sys
from pathlib import Path

import msgspec

_SOURCES = Path(__file__).parent
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")


class CannotCompileError(Exception):
    """The C programs cannot be had here; the message is one sentence that says what to do."""


class CPrograms(msgspec.Struct, frozen=True):
    """The compiled programs; what they take and print stands at the top of their sources."""

    load: Path
    fake_ollama: Path


def compiler() -> str:
    """Return the command of the C compiler.

    Raises:
        CannotCompileError: There is none, or the system is not Linux.

    """
    if sys.platform != "linux":
        raise CannotCompileError("The benchmark needs Linux: its load generator is built on epoll.")
    command = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if command is None:
        raise CannotCompileError("The benchmark needs a C compiler: install the package gcc with libc6-dev.")
    return command


async def compile_programs(directory: Path) -> CPrograms:
    """Compile both programs into `directory`.

    Raises:
        CannotCompileError: There is no compiler, or it refused a source.

    """
    command = compiler()
    programs = CPrograms(load=directory / "load", fake_ollama=directory / "fake_ollama")
    await asyncio.gather(*(_compile(command, program) for program in (programs.load, programs.fake_ollama)))
    return programs


async def _compile(command: str, program: Path) -> None:
    source = _SOURCES / f"{program.name}.c"
    compilation = await asyncio.create_subprocess_exec(
        command, *_FLAGS, "-o", str(program), str(source), stderr=asyncio.subprocess.PIPE
    )
    _, complaints = await compilation.communicate()
    if compilation.returncode != 0:
        raise CannotCompileError(f"{command} does not compile {source.name}: {complaints.decode().strip()}")
