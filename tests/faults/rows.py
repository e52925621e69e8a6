"""The rows of the reliability table, as TARGETS has them: what is promised, how it is tried, and how often."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from tests.faults.crossing_over import cancel_everything
from tests.faults.failing_ollama import fail_ollama
from tests.faults.hostile_input import send_hostile_input
from tests.faults.losing_gateways import kill_gateways
from tests.faults.losing_stores import empty_redis, lose_postgresql, lose_redis
from tests.faults.losing_workers import freeze_workers, kill_workers, restart_everything
from tests.faults.trial import Outcome, Trial


class Row(Struct, frozen=True, kw_only=True):
    """One promise."""

    name: str
    """What `--only` takes."""
    promise: str
    bound: str
    run: Callable[[Trial, int], Awaitable[Outcome]]
    full: int
    """How often at full size."""
    small: int
    """How often in `./dev test`."""

    def times(self, scale: float) -> int:
        """Return how often at a scale of the full size."""
        return max(1, round(self.full * scale))


ROWS = (
    Row(
        name="worker-kill",
        promise="worker SIGKILL mid-stream",
        bound="0 lost, 0 duplicated, 0 missing tokens; gap p99 < 3 s",
        run=kill_workers,
        full=100,
        small=2,
    ),
    Row(
        name="zombie",
        promise="worker SIGSTOP past its lease, SIGCONT",
        bound="0 stale bytes reach a client or the store",
        run=freeze_workers,
        full=200,
        small=2,
    ),
    Row(
        name="gateway-kill",
        promise="gateway SIGKILL, clients resume on another",
        bound="every transcript exact, resume p99 < 3 s",
        run=kill_gateways,
        full=100,
        small=2,
    ),
    Row(
        name="rolling-restart",
        promise="rolling restart of workers and gateways under load",
        bound="0 failed jobs, 0 attempts spent",
        run=restart_everything,
        full=10,
        small=1,
    ),
    Row(
        name="redis-loss",
        promise="Redis kill -9 and restart, or every connection cut",
        bound="0 accepted jobs lost, every process alive, back < 5 s",
        run=lose_redis,
        full=20,
        small=2,
    ),
    Row(
        name="redis-emptied",
        promise="FLUSHALL in the middle of answers",
        bound="0 jobs lost, accepted ones ended within 10 s",
        run=empty_redis,
        full=5,
        small=1,
    ),
    Row(
        name="postgresql-loss",
        promise="PostgreSQL stopped",
        bound="never a false 202, streams go on, all rows there afterwards",
        run=lose_postgresql,
        full=5,
        small=1,
    ),
    Row(
        name="ollama",
        promise="Ollama hangs, drips, is cut, sends garbage, 500, exits",
        bound="right terminal event, slot free, other models unaffected",
        run=fail_ollama,
        full=10,
        small=1,
    ),
    Row(
        name="cross-talk",
        promise="two tenants, cancelled requests, marked text",
        bound="0 bytes cross over",
        run=cancel_everything,
        full=10_000,
        small=60,
    ),
    Row(
        name="hostile-input",
        promise="hostile and broken input, named cases and the OpenAPI document fuzzed",
        bound="0 responses >= 500, 0 hangs",
        run=send_hostile_input,
        full=20_000,
        small=11,
    ),
)
"""In the order in which they are tried."""
