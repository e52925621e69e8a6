"""Each row of the reliability table at a small size: what came, how often, and in which order."""

import os
from importlib.util import find_spec

import pytest

from tests.faults.hostile_input import send_hostile_input
from tests.faults.random_faults import break_at_random
from tests.faults.rows import ROWS, Row
from tests.faults.trial import Trial


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_the_promise_is_kept(trial: Trial, row: Row) -> None:
    if row.run is send_hostile_input and find_spec("schemathesis") is None and "CI" not in os.environ:
        pytest.skip("schemathesis is not installed, ./dev test would: what hostile input brings about was NOT tested")
    assert (await row.run(trial, row.small)).violations == []


@pytest.mark.parametrize("seed", [3, 20])
async def test_random_faults(trial: Trial, seed: int) -> None:
    """Again, and longer: `./dev chaos --only random --seed N --minutes 1`."""
    assert (await break_at_random(trial, seed, seconds=3)).violations == []
