"""Clocks that tests turn by hand."""

from shared.clock import SystemClock


class TurnedClock(SystemClock):
    """The system's clock, ahead by `ahead_s` seconds, which a test may change at any time."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_s = ahead_s

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return super().now_ms() + round(self.ahead_s * 1000)

    def monotonic_s(self) -> float:
        """See `Clock.monotonic_s`."""
        return super().monotonic_s() + self.ahead_s


class StandingClock(TurnedClock):
    """A clock that stands still, but for what a test turns it by."""

    def __init__(self) -> None:
        super().__init__()
        self._now_ms = SystemClock().now_ms()
        self._monotonic_s = SystemClock().monotonic_s()

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return self._now_ms + round(self.ahead_s * 1000)

    def monotonic_s(self) -> float:
        """See `Clock.monotonic_s`."""
        return self._monotonic_s + self.ahead_s
