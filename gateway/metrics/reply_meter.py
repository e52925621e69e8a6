"""Measures one reply as its reader sees it; all but the first piece and the last cost nothing."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from gateway.metrics.declared import Metrics
from shared.clock import Clock
from shared.database.jobs import FinishedJob
from shared.errors import by_code
from shared.events import ErrorBody, Event, EventKind, Timings, Usage

COMPLETED = "completed"
CLIENT_GONE = "client_gone"

_DONE = EventKind.DONE.value  # reading an enum's value costs more than all the rest does per token
_ERROR = EventKind.ERROR.value
_PIECES = (EventKind.CHUNK.value, _DONE)


class _DonePayload(Struct, frozen=True):
    usage: Usage
    timings: Timings


_done_decoder = msgspec.json.Decoder(_DonePayload)
_error_decoder = msgspec.json.Decoder(ErrorBody)


def count_durable(metrics: Metrics, row: FinishedJob) -> None:
    """Count the end of a durable job, which no reader need have seen."""
    model = metrics.bounded_model(row.model)
    metrics.jobs.labels(model, by_code(row.error_code).code if row.error_code else COMPLETED).inc()
    if row.error_code is None:
        metrics.queue_wait.labels(model).observe(row.queue_ms / 1000)
        metrics.tokens.labels(model, "prompt").inc(row.prompt_tokens)
        metrics.tokens.labels(model, "completion").inc(row.completion_tokens)


class ReplyMeter:
    """Watches the events of a job on their way to its reader; the clock runs from here.

    Args:
        metrics: What is counted and measured.
        clock: Measures.
        model: Of the job.
        counts: Whether the job's end is counted here; that of a durable one is by `count_durable`.

    """

    def __init__(self, metrics: Metrics, clock: Clock, model: str, *, counts: bool = True) -> None:
        self._metrics = metrics
        self._clock = clock
        self._model = metrics.bounded_model(model)
        self._counts = counts
        self._begun_s = clock.monotonic_s()
        self._first_s: float | None = None
        self._ended = False

    def saw(self, events: Sequence[Event]) -> None:
        """Take note of events that are about to be sent; a terminal one can only be the last."""
        if self._first_s is None and any(event.kind in _PIECES for event in events):
            self._first_s = self._clock.monotonic_s()
            self._metrics.time_to_first_token.labels(self._model).observe(self._first_s - self._begun_s)
        _, kind, payload = events[-1]
        if kind == _DONE:
            self._complete(_done_decoder.decode(payload))
        elif kind == _ERROR:
            self._end(by_code(_error_decoder.decode(payload).error.code).code)

    def left(self) -> None:
        """Take note that the client is no longer there; after the end that is as it should be."""
        if not self._ended:
            self._end(CLIENT_GONE)

    def _complete(self, done: _DonePayload) -> None:
        metrics, model, usage = self._metrics, self._model, done.usage
        if self._first_s is not None and usage.completion_tokens > 1:
            elapsed_s = self._clock.monotonic_s() - self._first_s
            metrics.time_per_output_token.labels(model).observe(elapsed_s / (usage.completion_tokens - 1))
        if self._counts:
            metrics.queue_wait.labels(model).observe(done.timings.queue_ms / 1000)
            metrics.tokens.labels(model, "prompt").inc(usage.prompt_tokens)
            metrics.tokens.labels(model, "completion").inc(usage.completion_tokens)
        self._end(COMPLETED)

    def _end(self, outcome: str) -> None:
        self._ended = True
        if self._counts:
            self._metrics.jobs.labels(self._model, outcome).inc()
