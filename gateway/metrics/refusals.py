"""Counts what is refused for now, whichever route or layer refuses it."""

from litestar.types import Scope

from gateway.metrics.declared import Metrics
from shared.errors import ConcurrencyLimitedError, RateLimitedError, TryLaterError


async def count_refusal(error: Exception, scope: Scope) -> None:
    """Take note of an error that is about to be answered."""
    metrics: Metrics = scope["litestar_app"].state.metrics
    if isinstance(error, TryLaterError):
        metrics.refusals.labels(error.code).inc()
    if isinstance(error, RateLimitedError | ConcurrencyLimitedError):
        metrics.rate_limit_refusals.labels(error.scope, error.unit).inc()
