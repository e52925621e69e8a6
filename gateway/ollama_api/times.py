"""Tells times as Ollama writes them, in RFC 3339 with nanoseconds, and durations, which are nanoseconds."""

from datetime import UTC, datetime

from shared.clock import Clock

NS_PER_MS = 1_000_000


class CreatedAt:
    """Gives the time for one line after the other, which are many in a second: 1 µs instead of 4."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1  # since 1970, to which the text belongs
        self._text = b""

    def now(self) -> bytes:
        """Return the time, to the millisecond."""
        second, ms = divmod(self._clock.now_ms(), 1000)
        if second != self._second:
            self._second = second
            self._text = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}".encode()
        return b"%b.%03d000000Z" % (self._text, ms)
