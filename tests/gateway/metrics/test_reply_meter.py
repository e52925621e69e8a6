import msgspec
import pytest

from gateway.metrics.declared import Metrics
from gateway.metrics.reply_meter import ReplyMeter, count_durable
from shared.database.jobs import FinishedJob
from shared.events import Chunk, ErrorBody, ErrorDetail, Event, EventKind, Timings, Usage, encode_payload
from shared.ids import new_id
from shared.jobs import JobEnd, JobKind, JobStatus

MODEL = {"model": "llama3.2:3b"}
QUEUED = Event(0, EventKind.QUEUED.value, b"{}")
STARTED = Event(1, EventKind.STARTED.value, b"{}")
CHUNK = Event(2, EventKind.CHUNK.value, b"{}")


class HandTurnedClock:
    def __init__(self) -> None:
        self.s = 1000.0

    def now_ms(self) -> int:
        return int(self.s * 1000)

    def monotonic_s(self) -> float:
        return self.s


@pytest.fixture
def clock() -> HandTurnedClock:
    return HandTurnedClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def meter(metrics: Metrics, clock: HandTurnedClock) -> ReplyMeter:
    return ReplyMeter(metrics, clock, MODEL["model"])


def done(*, completion_tokens: int) -> Event:
    last = Chunk(
        model=MODEL["model"],
        content="",
        done=True,
        usage=Usage(prompt_tokens=7, completion_tokens=completion_tokens),
        timings=Timings(queue_ms=1500, load_ms=0, first_token_ms=200, total_ms=4000),
    )
    return Event(9, EventKind.DONE.value, encode_payload(last))


def error(code: str) -> Event:
    detail = ErrorDetail(code=code, type="server_error", message="", param=None, request_id="r-1")
    return Event(9, EventKind.ERROR.value, msgspec.json.encode(ErrorBody(detail)))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"deepersensor_{name}", {**MODEL, **labels})


def test_a_whole_reply_is_measured(metrics: Metrics, clock: HandTurnedClock, meter: ReplyMeter) -> None:
    meter.saw([QUEUED])
    clock.s += 2
    meter.saw([STARTED, CHUNK, CHUNK])
    clock.s += 3
    meter.saw([CHUNK])
    clock.s += 1
    meter.saw([CHUNK, done(completion_tokens=5)])

    assert value(metrics, "time_to_first_token_seconds_sum") == 2
    assert value(metrics, "time_to_first_token_seconds_count") == 1
    assert value(metrics, "time_per_output_token_seconds_sum") == 1  # 4 s for the 4 tokens after the first
    assert value(metrics, "queue_wait_seconds_sum") == 1.5
    assert value(metrics, "tokens_total", kind="prompt") == 7
    assert value(metrics, "tokens_total", kind="completion") == 5
    assert value(metrics, "jobs_total", outcome="completed") == 1


def test_a_reply_of_one_token_has_no_time_between_tokens(metrics: Metrics, meter: ReplyMeter) -> None:
    meter.saw([STARTED, done(completion_tokens=1)])

    assert value(metrics, "time_to_first_token_seconds_count") == 1
    assert value(metrics, "time_per_output_token_seconds_count") is None
    assert value(metrics, "tokens_total", kind="completion") == 1


def test_an_error_before_any_answer_counts_as_its_code(metrics: Metrics, meter: ReplyMeter) -> None:
    meter.saw([STARTED])
    meter.saw([error("upstream_timeout")])

    assert value(metrics, "jobs_total", outcome="upstream_timeout") == 1
    assert value(metrics, "time_to_first_token_seconds_count") is None
    assert value(metrics, "tokens_total", kind="prompt") is None


def test_a_code_from_elsewhere_adds_no_label(metrics: Metrics, meter: ReplyMeter) -> None:
    meter.saw([error("made_up_by_a_newer_worker")])

    assert value(metrics, "jobs_total", outcome="internal_error") == 1


def test_a_client_that_leaves_is_an_outcome(metrics: Metrics, meter: ReplyMeter) -> None:
    meter.saw([STARTED, CHUNK])
    meter.left()

    assert value(metrics, "jobs_total", outcome="client_gone") == 1
    assert value(metrics, "time_to_first_token_seconds_count") == 1


def test_leaving_after_the_end_is_none(metrics: Metrics, meter: ReplyMeter) -> None:
    meter.saw([STARTED, done(completion_tokens=3)])
    meter.left()

    assert value(metrics, "jobs_total", outcome="completed") == 1
    assert value(metrics, "jobs_total", outcome="client_gone") is None


@pytest.mark.parametrize(
    ("code", "outcome"), [(None, "completed"), ("upstream_error", "upstream_error"), ("made_up", "internal_error")]
)
def test_a_durable_job_counts_when_it_is_stored(metrics: Metrics, code: str | None, outcome: str) -> None:
    terminal = error(code) if code else done(completion_tokens=5)
    end = JobEnd(
        user_id=new_id(),
        kind=JobKind.CHAT,
        model=MODEL["model"],
        status=JobStatus.FAILED if code else JobStatus.COMPLETED,
        request_id="r-1",
        queue_ms=1500,
        total_ms=4000,
        attempts=1,
        epoch=1,
        is_durable=True,
        terminal=(terminal.kind + terminal.payload).decode(),
    )

    count_durable(metrics, FinishedJob.of(new_id(), end, []))

    assert value(metrics, "jobs_total", outcome=outcome) == 1
    assert value(metrics, "tokens_total", kind="completion") == (None if code else 5)
    assert value(metrics, "queue_wait_seconds_sum") == (None if code else 1.5)
