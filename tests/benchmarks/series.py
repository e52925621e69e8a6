"""Whether a token and a job cost the same however much there is: of workers, streams, jobs that wait, jobs that run."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.load import Load
from tests.benchmarks.markdown import aligned
from tests.benchmarks.ours import our_stack
from tests.benchmarks.scenarios import Figures, measure_pickup, running_jobs, send_paced_streams, taken
from tests.benchmarks.targets import UNPACED, Target

_WORKERS = (1, 2, 4)
_STREAMS = (50, 100, 200, 500)
_CLIENTS = (16, 100, 1_000, 10_000)
_RUNNING = (0, 300, 600, 900)
_FEW_SLOTS = 16
_ANSWERS = 2_000
"""At each number of clients; with more clients than this each asks once."""


async def measure_series(bench: Bench, directory: Path, model_port: int) -> str:
    """Measure every series against stacks of our own, and return them as tables.

    Raises:
        StartFailedError: A part of a stack does not come to serve.
        MeasurementError: A figure could not be taken.

    """
    async with our_stack(directory / "one-worker", model_port=model_port) as ours:
        streams = {clients: await _paced(bench, ours, clients, f"{clients} streams") for clients in _STREAMS}
        running = {jobs: await _pickup(bench, ours, jobs) for jobs in _RUNNING}
    async with our_stack(directory / "few-slots", model_port=model_port, slots=_FEW_SLOTS) as ours:
        waiting = {clients: await _answers(bench, ours, clients) for clients in _CLIENTS}
    workers: dict[int, Figures] = {}
    for count in _WORKERS:
        async with our_stack(directory / f"workers-{count}", model_port=model_port, workers=count) as ours:
            workers[count] = await _paced(bench, ours, 200, f"{count} workers")
    return "\n\n".join(
        (
            _table("workers, 200 streams x 50 tokens/s", workers),
            _table("streams x 50 tokens/s, 1 worker", streams),
            _table(f"clients that wait for {_FEW_SLOTS} slots, answers in one piece", waiting),
            _table("jobs running, while others are picked up", running),
        )
    )


async def _paced(bench: Bench, ours: Target, clients: int, what: str) -> Figures:
    _say(what)
    outcome = await send_paced_streams(bench, ours, clients)
    return {
        "processor µs per token": outcome.serving_s / outcome.report.tokens * 1e6,
        "gap p99 ms": taken(outcome.report.gap_ms).p99,
        "first token p99 ms": taken(outcome.report.first_token_ms).p99,
    }


async def _pickup(bench: Bench, ours: Target, jobs: int) -> Figures:
    _say(f"pickup with {jobs} jobs running")
    if jobs == 0:
        delay = await measure_pickup(bench, ours)
    else:
        async with running_jobs(bench, ours, jobs):
            delay = await measure_pickup(bench, ours)
    return {"p50 ms": delay.p50, "p99 ms": delay.p99}


async def _answers(bench: Bench, ours: Target, clients: int) -> Figures:
    _say(f"{clients} clients for {_FEW_SLOTS} slots")
    load = Load(clients=clients, requests=max(1, _ANSWERS // clients))
    outcome = await bench.send(ours, ours.whole(UNPACED, 1), load)
    return {
        "processor ms per answer": outcome.serving_s / outcome.report.sent * 1e3,
        "answers per s": outcome.report.complete / outcome.report.seconds,
    }


def _table(title: str, points: Mapping[int, Figures]) -> str:
    """Return a line per point, the first figure also as a multiple of the first point's: 1 is linear cost."""
    names = list(next(iter(points.values())))
    first = next(iter(points.values()))[names[0]]
    lines: list[Sequence[str]] = [[title, *names, f"{names[0]}, relative"]]
    for size, figures in points.items():
        relative = figures[names[0]] / first if first else 0
        lines.append([f"{size:,}", *(f"{figures[name]:,.2f}" for name in names), f"{relative:.2f}"])
    return aligned(lines)


def _say(what: str) -> None:
    sys.stderr.write(f"series: {what}\n")
