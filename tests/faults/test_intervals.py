"""Waiting times are those that a reader had, and bounds are held against the 99th percentile."""

import json

from tests.faults.intervals import percentile, resume_times_ms, takeover_gaps_ms
from tests.faults.soak import grown
from tests.faults.transcript import Connection, Ending, JobTranscript, Question, SeenEvent
from tests.faults.trial import Figure, Outcome

CHUNK, RESUMED = {"content": "x", "done": False}, {"attempt": 2, "mode": "restarted"}


def event(type_: str, data: object, id_: int, at_ms: float) -> SeenEvent:
    return SeenEvent(type_, json.dumps(data), id=id_, at_ms=at_ms)


def connection(*events: SeenEvent, ending: Ending = "ended", closed_ms: float = 0) -> Connection:
    return Connection(
        mark="m", reader="r", gateway="g", after=0, ending=ending, opened_ms=0, closed_ms=closed_ms, events=events
    )


def job(*connections: Connection) -> JobTranscript:
    return JobTranscript(Question("m", "0", "model"), {"r": list(connections)})


def test_a_takeover_lasts_until_the_next_word() -> None:
    told = job(
        connection(event("chunk", CHUNK, 2, 10), event("resumed", RESUMED, 3, 1000), event("chunk", CHUNK, 4, 1200))
    )
    assert takeover_gaps_ms([told]) == [1190]


def test_a_broken_connection_lasts_until_the_next_event() -> None:
    refused = connection(ending="refused", closed_ms=300)
    told = job(connection(ending="cut", closed_ms=100), refused, connection(event("chunk", CHUNK, 2, 900)))
    assert resume_times_ms([told]) == [800]


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert percentile([], 0.99) == 0


def test_a_promise_is_kept_with_its_bounds() -> None:
    slow = Figure("gap", [10.0, 4000.0], bound_ms=3000)
    assert not Outcome("2 times", [], [slow]).is_kept
    assert Outcome("2 times", [], [Figure("gap", [10.0, 4000.0])]).is_kept
    assert not Outcome("2 times", ["a token was lost"]).is_kept


def test_what_grows_is_found() -> None:
    flat, growing = [100.0, 101.0] * 20, [100.0 + 3 * number for number in range(40)]
    assert grown({"gateway-1: memory, MB": flat, "Redis keys": flat}) == []
    assert len(grown({"gateway-1: memory, MB": growing, "Redis keys": growing})) == 2
