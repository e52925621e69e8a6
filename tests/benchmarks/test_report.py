"""What the table says about figures."""

import pytest

from tests.benchmarks.report import table, verdict
from tests.benchmarks.rounds import Measurement
from tests.benchmarks.rows import ROWS, SCENARIOS, Figure, Row
from tests.benchmarks.scenarios import Figures

DELAY = Figure(name="delay_ms", first=10, goal=5)
RATE = Figure(name="per_s", first=100, goal=200, more_is_better=True)


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([{"delay_ms": 5, "per_s": 200}], "goal"),
        ([{"delay_ms": 5.1, "per_s": 200}], "first"),
        ([{"delay_ms": 5, "per_s": 199}], "first"),
        ([{"delay_ms": 12, "per_s": 200}], "missed, 1.20 x first"),
        ([{"delay_ms": 12, "per_s": 50}], "missed, 2.00 x first"),
        ([{"delay_ms": 5}], "not measured"),
        ([], "not measured"),
    ],
    ids=["all goals", "one first", "a rate below its goal", "one missed", "the worst counts", "one absent", "no round"],
)
def test_a_row_reaches_what_all_of_its_figures_reach(rounds: list[Figures], expected: str) -> None:
    assert verdict((DELAY, RATE), rounds) == expected


def test_the_median_of_the_rounds_is_judged() -> None:
    assert verdict((DELAY,), [{"delay_ms": 4}, {"delay_ms": 100}, {"delay_ms": 5}]) == "goal"


def test_ratios_are_taken_within_rounds_and_medians_over_them() -> None:
    row = Row(title="delay", scenario="delay", figures=(DELAY,))
    ours = [Measurement({"delay_ms": value}, 0.25) for value in (2.0, 30.0, 8.0)]
    nginx = [Measurement({"delay_ms": value}, 0.0) for value in (1.0, 10.0, 2.0)]

    cells = [
        cell.strip()
        for cell in table([row], {("delay", "nginx"): nginx, ("delay", "ours"): ours}).split("\n")[2].split("|")
    ]

    assert cells[1:-1] == ["delay", "-", "2.0", "8.0 [2.0..30.0]", "-", "3", "10", "5", "first", "0% / 25%"]


def test_every_row_has_a_scenario_and_every_scenario_a_row() -> None:
    assert {row.scenario for row in ROWS} == set(SCENARIOS)


def test_a_verdict_is_qualified_when_others_had_the_machine() -> None:
    row = Row(title="delay", scenario="delay", figures=(DELAY,))
    measured = {("delay", "ours"): [Measurement({"delay_ms": 50}, share) for share in (0.1, 0.3, 0.9)]}

    assert "disturbed (missed, 5.00 x first)" in table([row], measured)
