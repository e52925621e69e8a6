"""The command itself, as `./dev bench` calls it, at its smallest."""

import asyncio
import sys
from pathlib import Path

from tests.benchmarks.c_programs import CPrograms

CHECKOUT = Path(__file__).parents[2]


async def test_a_row_is_measured_and_printed(c_programs: CPrograms) -> None:
    """The programs are a fixture for its skip where they cannot be compiled; the command compiles its own."""
    assert c_programs.load.exists()
    arguments = ("--quick", "--targets", "direct", "--only", "first-token")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks", *arguments),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaints = await process.communicate()

    assert process.returncode == 0, complaints.decode()
    assert "added time to first token" in output.decode()
    assert "direct: 228 of 228 answers whole, exact and in order" in output.decode()
