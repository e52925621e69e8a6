"""What follows an attempt that failed at Ollama: another one, elsewhere if that can be, or the end of the job."""

import random

from msgspec import Struct

from shared.errors import UpstreamBusyError, UpstreamError, UpstreamRejectedError

MAX_ATTEMPTS = 3  # a job that has cost so many workers their life or their answer is not tried again
AVOID_FACTOR = 5  # another worker polls every 250 ms: it comes before the one that failed comes back
MAX_RETRY_AFTER_S = 60.0  # whoever wants to be left alone for longer than people wait is asked all the same


class Retry(Struct, frozen=True):
    """When a job is tried again."""

    error: UpstreamError  # what the last attempt failed of
    delay_ms: int  # until any worker may take it
    avoid_ms: int  # until the one that failed may


def plan_retry(error: UpstreamError, *, attempt: int, left_ms: int, delay_ms: int) -> Retry | None:
    """Return when to try again; None: not at all.

    Args:
        error: What the attempt failed of.
        attempt: Which one it was, from 1.
        left_ms: What is left of the job's own timeout.
        delay_ms: The mean delay after the first attempt; it doubles with each.

    """
    if isinstance(error, UpstreamRejectedError) or attempt >= MAX_ATTEMPTS:
        return None
    delay = delay_ms * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
    if delay >= left_ms:
        return None
    return Retry(error=error, delay_ms=round(delay), avoid_ms=round(max(AVOID_FACTOR * delay, asked_for_ms(error))))


def asked_for_ms(error: UpstreamError) -> float:
    """Return for how long Ollama has asked to be left alone; 0: it has not."""
    seconds = (error.retry_after_s or 0.0) if isinstance(error, UpstreamBusyError) else 0.0
    return min(seconds, MAX_RETRY_AFTER_S) * 1000
