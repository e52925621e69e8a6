"""Tells whoever wants to know that this process is on its way out, and when its time for that runs out."""

from collections.abc import Callable


class Moment:
    """Comes once."""

    def __init__(self) -> None:
        self._has_come = False
        self._callbacks: list[Callable[[], None]] = []

    def when_come(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when the moment comes, or now if it has come."""
        self._callbacks.append(callback)
        if self._has_come:
            callback()

    def come(self) -> None:
        """Tell everybody, once."""
        if not self._has_come:
            self._has_come = True
            for callback in self._callbacks:
                callback()


class Draining:
    """The two moments of a process that is told to stop."""

    def __init__(self) -> None:
        self.begun = Moment()  # what can go on elsewhere is ended
        self.running_out = Moment()  # whatever still runs is ended, while there is time to say so
