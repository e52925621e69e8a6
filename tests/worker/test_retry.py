"""Which failures are worth another attempt, and when it is made."""

import pytest

from shared.errors import (
    ContextLengthExceededError,
    UpstreamBusyError,
    UpstreamError,
    UpstreamInterruptedError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from worker.retry import MAX_RETRY_AFTER_S, Retry, plan_retry

WORTH_IT = [
    UpstreamError("500"),
    UpstreamBusyError("503"),
    UpstreamInterruptedError("cut"),
    UpstreamUnreachableError("refused"),
    UpstreamTimeoutError("silent", phase="connect", limit_ms=1),
]
USELESS = [UpstreamRejectedError("400"), ContextLengthExceededError("too long")]


def plan(error: UpstreamError, *, attempt: int = 1, left_ms: int = 60_000) -> Retry | None:
    return plan_retry(error, attempt=attempt, left_ms=left_ms, delay_ms=100)


@pytest.mark.parametrize("error", WORTH_IT, ids=lambda error: error.code)
def test_a_fault_of_the_host_is_tried_again_twice(error: UpstreamError) -> None:
    first, second, third = (plan(error, attempt=attempt) for attempt in (1, 2, 3))

    assert first is not None
    assert second is not None
    assert (first.error, third) == (error, None)
    assert 50 <= first.delay_ms <= 150
    assert 100 <= second.delay_ms <= 300


@pytest.mark.parametrize("error", USELESS, ids=lambda error: error.code)
def test_a_refusal_is_not(error: UpstreamError) -> None:
    assert plan(error) is None


def test_nothing_is_tried_when_the_jobs_time_is_up() -> None:
    assert plan(UpstreamError("500"), left_ms=49) is None


def test_another_worker_comes_first() -> None:
    for _ in range(100):
        retry = plan(UpstreamError("500"))
        assert retry is not None
        assert retry.avoid_ms >= 5 * retry.delay_ms - 5  # both are rounded


@pytest.mark.parametrize(
    ("asked_s", "avoid_ms"), [(7.5, 7500), (86_400.0, MAX_RETRY_AFTER_S * 1000)], ids=["for a while", "for a day"]
)
def test_a_busy_host_is_left_alone_as_long_as_it_asked(asked_s: float, avoid_ms: float) -> None:
    retry = plan(UpstreamBusyError("503", retry_after_s=asked_s))

    assert retry is not None
    assert retry.avoid_ms == avoid_ms
    assert retry.delay_ms <= 150  # another host may take the job long before
