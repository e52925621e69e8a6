"""Tells whoever wants to know that this process is on its way out: it ends what can go on elsewhere."""

from collections.abc import Callable


class Draining:
    """Begins once, when the process is told to stop."""

    def __init__(self) -> None:
        self._has_begun = False
        self._callbacks: list[Callable[[], None]] = []

    def when_begun(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when draining begins, or now if it has begun."""
        self._callbacks.append(callback)
        if self._has_begun:
            callback()

    def begin(self) -> None:
        """Tell everybody, once."""
        if not self._has_begun:
            self._has_begun = True
            for callback in self._callbacks:
                callback()
