"""Fixtures of the benchmark's own tests: the C programs, and the stand-in for Ollama running."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.local.program import start
from tests.benchmarks.c_programs import CannotCompileError, CPrograms, compile_programs, compiler
from tests.benchmarks.model import fake_ollama
from tests.benchmarks.targets import MODELS, Target


@pytest.fixture(scope="session")
async def c_programs(tmp_path_factory: pytest.TempPathFactory) -> CPrograms:
    """Load generator and fake Ollama, compiled."""
    try:
        compiler()
    except CannotCompileError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    return await compile_programs(tmp_path_factory.mktemp("c-programs"))


@pytest.fixture
async def direct(c_programs: CPrograms, tmp_path: Path) -> AsyncIterator[Target]:
    """The fake Ollama, to be asked directly."""
    program, port = fake_ollama(c_programs.fake_ollama, tmp_path, MODELS)
    running = await start(program)
    try:
        await running.until_it_serves()
        yield Target(name="direct", port=port)
    finally:
        await running.stop()
