"""Counts processor time: of the processes under test, and of everything else that ran on the same cores meanwhile."""

import os
from collections.abc import Iterable

import psutil

CORES = 2
"""How many cores everything shares: load, model, and what is measured. More would hide what a token costs."""


def share_two_cores() -> tuple[int, ...]:
    """Confine this process, and all that it starts from now on, to the first `CORES` cores it may use."""
    cores = tuple(sorted(os.sched_getaffinity(0))[:CORES])
    os.sched_setaffinity(0, cores)
    return cores


def used_by(pids: Iterable[int]) -> float:
    """Return the processor seconds that processes and their children have used since they started."""
    times = [process.cpu_times() for pid in pids for process in _family(pid)]
    return sum(time.user + time.system for time in times)


def used_on_our_cores() -> float:
    """Return the seconds for which the cores we may use have been busy, for whomever, since the machine started."""
    every_core = psutil.cpu_times(percpu=True)
    ours = [every_core[core] for core in os.sched_getaffinity(0)]
    return sum(sum(core) - core.idle - core.iowait - core.guest - core.guest_nice for core in ours)


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB."""
    return sum(process.memory_info().rss for process in _family(pid)) / 1e6


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
