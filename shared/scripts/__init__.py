"""The Lua scripts: every change of more than one key is one of these, and so happens whole or not at all.

They read the time from Redis, so that machines whose clocks differ agree on leases and deadlines.
"""

from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, cast

from redis.asyncio import Redis

Script = Callable[[Sequence[str], Sequence[Any]], Awaitable[Any]]


def load(redis: Redis, *names: str) -> Script:
    """Return the last named script as a function of its KEYS and ARGV; the others define local functions for it.

    It is sent to Redis by its digest, and whole when Redis does not know it (any more).
    """
    return cast("Script", redis.register_script(read(*names)))


def read(*names: str) -> str:
    """Return the named scripts as one text."""
    return "\n".join((files(__name__) / f"{name}.lua").read_text("utf-8") for name in names)
