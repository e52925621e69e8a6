"""What is measured of the surfaces: that their answers are exact, and how their cost is told; never how much it is."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.program import start
from tests.benchmarks.bench import Bench, Scale
from tests.benchmarks.c_programs import CPrograms
from tests.benchmarks.model import fake_ollama
from tests.benchmarks.report import account, all_exact
from tests.benchmarks.rounds import Measurement
from tests.benchmarks.surfaces import measure_surfaces, table
from tests.benchmarks.targets import MODELS, SURFACES

TINY = Scale(sequential_requests=4, rate_s=0.1, stream_s=0.1)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody may enter: PostgreSQL runs as another user when we are root."""
    with tempfile.TemporaryDirectory(prefix="deepersensor-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory


async def test_every_surface_answers_the_same_load_exactly(c_programs: CPrograms, open_directory: Path) -> None:
    program, port = fake_ollama(c_programs.fake_ollama, open_directory, MODELS)
    model = await start(program)
    try:
        await model.until_it_serves()
        bench = Bench(c_programs.load, model.pid, TINY)
        text = await measure_surfaces(bench, open_directory, port, rounds=2, patience_s=0)
    finally:
        await model.stop()

    assert all_exact(bench.outcomes), account(bench.outcomes)
    assert {outcome.target for outcome in bench.outcomes} == set(SURFACES)
    assert "more than native" in text


def test_what_a_surface_costs_more_than_native_is_taken_within_each_round() -> None:
    per_token = {"native": (50, 70, 10), "openai": (54, 73, 18), "ollama": (51, 69, 10)}
    measured = {
        (scenario, surface): [Measurement({"us_per_token": cost}, strangers_share=0.0) for cost in per_token[surface]]
        for scenario in ("paced", "unpaced", "first-token")
        for surface in SURFACES
    }

    _, _, _, more, *_ = table(measured).splitlines()

    assert [cell.strip() for cell in more.split("|")[2:-1]] == ["-", "+4.0 [+3.0..+8.0]", "+0.0 [-1.0..+1.0]"]
