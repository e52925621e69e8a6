"""Measures everything several times, targets in turns, and takes again what other work on the machine disturbed."""

import sys
from collections.abc import Sequence

from msgspec import Struct

from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import SCENARIOS
from tests.benchmarks.scenarios import Figures, MeasurementError
from tests.benchmarks.targets import Target

_QUIET_SHARE = 0.1
"""A measurement is disturbed when others had more of the cores: at 60 % the p99 of 20 ms gaps rose from 21 to 27 ms."""


class Measurement(Struct, frozen=True):
    """One scenario against one target, once."""

    figures: Figures
    strangers_share: float
    """The most that other work had of the cores while a load ran."""


Measured = dict[tuple[str, str], list[Measurement]]
"""What every round gave, by scenario and target."""


async def measure_rounds(
    bench: Bench, targets: Sequence[Target], scenarios: Sequence[str], *, rounds: int, tries: int
) -> Measured:
    """Measure every scenario against every target, `rounds` times, each time with at most `tries` for quiet.

    What cannot be measured is told at once and is absent from that round; the rest goes on.
    """
    measured: Measured = {}
    for round_ in range(1, rounds + 1):
        for scenario in scenarios:
            for target in targets:
                sys.stderr.write(f"round {round_} of {rounds}: {scenario}, {target.name}\n")
                measurement = await _measure_in_quiet(bench, scenario, target, tries)
                measured.setdefault((scenario, target.name), []).append(measurement)
    return measured


async def _measure_in_quiet(bench: Bench, scenario: str, target: Target, tries: int) -> Measurement:
    """Return the first measurement that nobody disturbed, or the least disturbed of all tries."""
    best = await _measure(bench, scenario, target)
    for _ in range(1, tries):
        if best.strangers_share <= _QUIET_SHARE:
            break
        best = min(best, await _measure(bench, scenario, target), key=lambda one: one.strangers_share)
    return best


async def _measure(bench: Bench, scenario: str, target: Target) -> Measurement:
    before = len(bench.outcomes)
    try:
        figures = await SCENARIOS[scenario](bench, target)
    except MeasurementError as error:
        sys.stderr.write(f"{scenario}, {target.name}: {error}\n")
        figures = {}
    share = max((outcome.strangers_share for outcome in bench.outcomes[before:]), default=0.0)
    return Measurement(figures, share)
