"""Measures how late this process is with everything: the delay of a timer that is due."""

import asyncio

from gateway.metrics.declared import Metrics
from shared.clock import Clock

EVERY_S = 0.25


async def measure_loop_lag(metrics: Metrics, clock: Clock) -> None:
    """Measure until cancelled."""
    while True:
        due_s = clock.monotonic_s() + EVERY_S
        await asyncio.sleep(EVERY_S)
        metrics.event_loop_lag.observe(max(0.0, clock.monotonic_s() - due_s))
