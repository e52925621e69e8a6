"""Bounds how long a read may wait, without a timer for each of thousands of reads a second."""

import asyncio
import math
from collections.abc import Callable, Coroutine

GRACE_S = 0.05  # when this process itself stood still, what arrived meanwhile is read before the silence is judged


class SilenceWatch:
    """One lazy timer for all reads of one answer.

    Each read only writes down until when it may wait; the timer looks at that when it rings and sets itself again,
    once in a deadline instead of once per token. Between reads, while the answer's reader is busy elsewhere, no time
    counts.

    Args:
        give_up: Run once, when a read has waited too long; it must make that read fail.

    """

    def __init__(self, give_up: Callable[[], Coroutine[None, None, None]]) -> None:
        self.has_given_up = False
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._wait_until = math.inf
        self._rings_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._giving_up: asyncio.Task[None] | None = None  # a task that nobody holds can vanish

    def wait_until(self, at: float) -> None:
        """Let the read that begins now wait until `at`, on the clock of the loop."""
        self._wait_until = at
        if at < self._rings_at:
            self._set(at)

    def rest(self) -> None:
        """The read is over."""
        self._wait_until = math.inf

    def stop(self) -> None:
        """Stop watching for good."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, at: float) -> None:
        self.stop()
        self._rings_at = at
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._rings_at = math.inf
        if self._loop.time() < self._wait_until < math.inf:
            self._set(self._wait_until)
        elif self._wait_until < math.inf:
            self._timer = self._loop.call_later(GRACE_S, self._end)

    def _end(self) -> None:
        if self._wait_until < math.inf:
            self.has_given_up = True
            self._giving_up = self._loop.create_task(self._give_up())
