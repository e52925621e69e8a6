"""Puts one load on one target, and keeps account of whether the answers were right and who used the processor."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from tests.benchmarks.load import Load, LoadReport, send_load
from tests.benchmarks.processors import CORES, used_by, used_on_our_cores
from tests.benchmarks.targets import Request, Target


class Scale(Struct, frozen=True):
    """How much of everything."""

    sequential_requests: int
    """One after the other, where single answers are timed."""
    rate_s: float
    """How long a rate is taken."""
    stream_s: float
    """How long a paced stream runs."""


FULL = Scale(sequential_requests=500, rate_s=5, stream_s=8)
QUICK = Scale(sequential_requests=100, rate_s=1, stream_s=2)


class Outcome(Struct, frozen=True):
    """What came of a load."""

    target: str
    report: LoadReport
    serving_s: float
    """Processor seconds of the target's processes."""
    strangers_share: float
    """Part of our cores that went neither to the target nor to load and model: 0 on a quiet machine, at most 1."""


@dataclass(frozen=True)
class Bench:
    """The load generator, the model, and what has been sent so far."""

    load_program: Path
    model_pid: int
    scale: Scale
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    """Of everything that was sent, in the order of their ends."""

    async def send(self, target: Target, request: Request, load: Load) -> Outcome:
        """Put `load` on `target`, wait for the end, and keep the outcome."""
        began = time.monotonic()
        busy_s, serving_s, model_s = used_on_our_cores(), used_by(target.pids), used_by([self.model_pid])
        report = await send_load(self.load_program, target, request, load)
        busy_s, serving_s = used_on_our_cores() - busy_s, used_by(target.pids) - serving_s
        known_s = serving_s + report.cpu_seconds + used_by([self.model_pid]) - model_s
        available_s = (time.monotonic() - began) * CORES
        outcome = Outcome(target.name, report, serving_s, max(0.0, busy_s - known_s) / available_s)
        self.outcomes.append(outcome)
        return outcome
