"""Measures everything several times, targets in turns, and takes again what other work on the machine disturbed."""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence

from msgspec import Struct

from tests.benchmarks.bench import Bench
from tests.benchmarks.processors import CORES, used_on_our_cores
from tests.benchmarks.scenarios import Figures, MeasurementError, Scenario
from tests.benchmarks.targets import Target

_QUIET_SHARE = 0.1
"""A measurement is disturbed when others had more of the cores: at 60 % the p99 of 20 ms gaps rose from 21 to 27 ms."""
_LISTENING_S = 0.5


class Measurement(Struct, frozen=True):
    """One scenario against one target, once."""

    figures: Figures
    strangers_share: float
    """The most that other work had of the cores while a load ran."""


Measured = dict[tuple[str, str], list[Measurement]]
"""What every round gave, by scenario and target."""


async def measure_rounds(
    bench: Bench, targets: Sequence[Target], scenarios: Mapping[str, Scenario], *, rounds: int, patience_s: float
) -> Measured:
    """Measure every scenario against every target, `rounds` times.

    What cannot be measured is told at once and is absent from that round; the rest goes on.

    Args:
        bench: Sends the loads.
        targets: What is measured, in turns; another one begins each round, so that none always follows the same.
        scenarios: What is measured of each, by name.
        rounds: How often everything is measured.
        patience_s: How long each single measurement may wait for the machine to be quiet, and be taken again when it
            was not; 0 takes it as it comes.

    """
    measured: Measured = {}
    for round_ in range(1, rounds + 1):
        for name, scenario in scenarios.items():
            for target in _turned(targets, round_ - 1):
                sys.stderr.write(f"round {round_} of {rounds}: {name}, {target.name}\n")
                measurement = await _measure_in_quiet(bench, name, scenario, target, patience_s)
                measured.setdefault((name, target.name), []).append(measurement)
    return measured


def _turned(targets: Sequence[Target], by: int) -> list[Target]:
    first = by % len(targets)
    return [*targets[first:], *targets[:first]]


async def _measure_in_quiet(
    bench: Bench, name: str, scenario: Scenario, target: Target, patience_s: float
) -> Measurement:
    """Return the first measurement that nobody disturbed, or the least disturbed of those that patience allowed."""
    give_up_at = time.monotonic() + patience_s
    taken: list[Measurement] = []
    while True:
        await _until_quiet(give_up_at)
        taken.append(await _measure(bench, name, scenario, target))
        if taken[-1].strangers_share <= _QUIET_SHARE or time.monotonic() >= give_up_at:
            return min(taken, key=lambda measurement: measurement.strangers_share)


async def _until_quiet(give_up_at: float) -> None:
    """Return when the cores have been idle for half a second, or at `give_up_at` at the latest."""
    while time.monotonic() < give_up_at:
        before = used_on_our_cores()
        await asyncio.sleep(_LISTENING_S)
        if used_on_our_cores() - before <= _QUIET_SHARE * _LISTENING_S * CORES:
            return


async def _measure(bench: Bench, name: str, scenario: Scenario, target: Target) -> Measurement:
    before = len(bench.outcomes)
    try:
        figures = await scenario(bench, target)
    except MeasurementError as error:
        sys.stderr.write(f"{name}, {target.name}: {error}\n")
        figures = {}
    share = max((outcome.strangers_share for outcome in bench.outcomes[before:]), default=0.0)
    return Measurement(figures, share)
