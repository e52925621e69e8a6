"""The row by hand: half an hour at an even load, over which nothing may grow."""

import asyncio
import time
from collections.abc import Sequence
from statistics import median

import psutil

from shared.redis_keys import JOB, LOG
from tests.faults.run import running
from tests.faults.trial import Outcome, Trial, outcome

SAMPLE_EVERY_S = 10.0
CLIENTS = 6  # a third of what two cores do, proxies and storytellers included
WORDS = (20, 60, 120)

MAY_GROW_TO = 1.15  # times the level of the second quarter: in the first one everything is used for the first time
SLACK: dict[str, float] = {"memory, MB": 5, "descriptors": 5, "Redis keys": 20, "PostgreSQL connections": 3}
"""What is watched, and what may come on top, so that a small number is no drama."""


async def soak(trial: Trial, minutes: float) -> Outcome:
    """Ask on, and watch what the processes hold; Redis keys are those that do not belong to a finished job."""
    samples: dict[str, list[float]] = {}
    ends_s = time.monotonic() + minutes * 60
    async with (
        running(trial.site, trial.directory, trial.chance) as run,
        trial.load(run, clients=CLIENTS, words=WORDS),
    ):
        while time.monotonic() < ends_s:
            await asyncio.sleep(SAMPLE_EVERY_S)
            for name, value in (await _sample(trial)).items():
                samples.setdefault(name, []).append(value)
            trial.tell(", ".join(f"{name} {values[-1]:g}" for name, values in samples.items()))
    levels = "; ".join(f"{name} {_quarter(values, 1):g} → {_quarter(values, 3):g}" for name, values in samples.items())
    return outcome(f"{minutes:g} minutes, {levels}", run.verdict, more=grown(samples))


def grown(samples: dict[str, list[float]]) -> list[str]:
    """Return what was higher in the last quarter than in the second one by more than it may be."""
    return [
        f"{name} grew from {_quarter(values, 1):g} to {_quarter(values, 3):g}"
        for name, values in samples.items()
        if _quarter(values, 3) > _quarter(values, 1) * MAY_GROW_TO + SLACK[_kind(name)]
    ]


def _kind(name: str) -> str:
    return name.partition(": ")[2] or name


def _quarter(values: Sequence[float], number: int) -> float:
    """Return the median of a quarter of the samples, counted from 0."""
    size = max(1, len(values) // 4)
    return median(values[number * size : (number + 1) * size] or values)


async def _sample(trial: Trial) -> dict[str, float]:
    sample: dict[str, float] = {}
    for part in trial.site.parts:
        process = psutil.Process(part.process.pid)
        sample[f"{part.name}: memory, MB"] = round(process.memory_info().rss / 1e6, 1)
        sample[f"{part.name}: descriptors"] = process.num_fds()
    keys = [key async for key in trial.site.redis.scan_iter(count=1000)]
    of_jobs = (JOB.encode(), LOG.encode())
    sample["Redis keys"] = sum(not key.startswith(of_jobs) for key in keys)
    sample["PostgreSQL connections"] = await trial.site.postgresql_connections()
    return sample
