"""Tells of limits of how many jobs and streams somebody may have at once."""

import math

from shared.demand import Concurrency
from shared.errors import ConcurrencyLimitedError

RETRY_STREAM_S = 2.0  # when one of the streams may have ended; nothing measures that


def crowded(limit: Concurrency, *, service_ms: int = 0) -> ConcurrencyLimitedError:
    """Return the error that tells of a limit that is used up.

    Args:
        limit: Of which there are as many as there may be.
        service_ms: How long a job takes; 0: nobody knows.

    """
    return ConcurrencyLimitedError(
        f"This {limit.scope} has {limit.most} {limit.unit} at once, and may not have more.",
        retry_after_s=max(1, math.ceil(service_ms / limit.most / 1000)) if service_ms else RETRY_STREAM_S,
        scope=limit.scope,
        unit=limit.unit,
        most=limit.most,
    )
