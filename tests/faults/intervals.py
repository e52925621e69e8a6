"""How long clients had to wait because of a fault, out of their transcripts."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tests.faults.transcript import REPLAY, Connection, JobTranscript


def takeover_gaps_ms(jobs: Iterable[JobTranscript]) -> list[float]:
    """Return, for each reader and takeover, the time from the last event before it to the first word after it."""
    gaps: list[float] = []
    for job in jobs:
        for connections in _live_readers(job):
            events = [event for connection in connections for event in connection.events if event.id]
            since_ms: float | None = None  # the last event of the lost worker, until the successor's first word
            for before, event in pairwise(events):
                if event.type == "resumed" or (event.type == "started" and event.json["attempt"] > 1):
                    since_ms = before.at_ms
                elif since_ms is not None:
                    gaps.append(event.at_ms - since_ms)
                    since_ms = None
    return gaps


def resume_times_ms(jobs: Iterable[JobTranscript]) -> list[float]:
    """Return, for each connection that broke, the time until the reader had the next event on another one."""
    times: list[float] = []
    for job in jobs:
        for connections in _live_readers(job):
            broken_ms: float | None = None
            for connection in connections:
                if broken_ms is not None and connection.events:
                    times.append(connection.events[0].at_ms - broken_ms)
                    broken_ms = None
                if connection.ending == "cut" and broken_ms is None:
                    broken_ms = connection.closed_ms
    return times


def _live_readers(job: JobTranscript) -> list[list[Connection]]:
    return [connections for reader, connections in job.readers.items() if reader != REPLAY]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that `share` of all do not exceed; 0 when there are none."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0
