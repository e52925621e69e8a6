"""Ties a child process to its parent's life, so that `kill -9` of the supervisor leaves nothing behind.

Linux only (`prctl(PR_SET_PDEATHSIG)`); elsewhere a child outlives a killed supervisor, though not a stopped one.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from signal import Signals

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(signal: Signals) -> Callable[[], None]:
    """Return a `preexec_fn` that has the kernel send `signal` to the child when the thread that started it ends.

    Start children from a thread that lives as long as the process. The child must not change its user afterwards: that
    clears the wish, which is why `subprocess` runs `preexec_fn` after `user=` has been applied.
    """
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: after it only calls that take no lock are safe
    parent = os.getpid()

    def leash() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal), 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return leash
