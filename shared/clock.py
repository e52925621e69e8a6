"""Time enters here, so that a test can turn it by hand."""

import time
from datetime import UTC, datetime
from typing import Annotated, Protocol

from msgspec import Meta

Timestamp = Annotated[datetime, Meta(tz=True)]  # in JSON as in RFC 3339, and in a schema called `date-time`


class Clock(Protocol):
    """A source of time."""

    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since 1970, UTC: what is stored and compared across machines."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never jump: what durations are measured with."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """See `Clock.monotonic_s`."""
        return time.monotonic()


def now(clock: Clock) -> datetime:
    """Return the wall-clock time as PostgreSQL takes it: aware, to the millisecond."""
    return datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
