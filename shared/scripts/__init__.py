"""The Lua scripts: every change of more than one key is one of these, and so happens whole or not at all.

They read the time from Redis, so that machines whose clocks differ agree on leases and deadlines.
"""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

Command = tuple[str | bytes | int, ...]
"""A Redis command with its arguments."""

Script = Callable[[Sequence[str], Sequence[Any]], Awaitable[Any]]


class ScriptCall(NamedTuple):
    """A script with its KEYS and ARGV, for pipelines: they do not send again by themselves what Redis did not know."""

    text: str
    digest: str
    arguments: Command  # number of keys, keys, arguments

    @property
    def by_digest(self) -> Command:
        """The command to begin with; where Redis does not know the script (any more), it raises NoScriptError."""
        return ("EVALSHA", self.digest, *self.arguments)

    @property
    def whole(self) -> Command:
        """The command that works always, and costs Redis 15 µs more for a script of 5 kB."""
        return ("EVAL", self.text, *self.arguments)


def load(redis: Redis, *names: str) -> Script:
    """Return the last named script as a function of its KEYS and ARGV; the others define local functions for it.

    It is sent to Redis by its digest, and whole when Redis does not know it (any more).
    """
    return cast("Script", redis.register_script(read(*names)))


def prepare(text: str) -> Callable[[Sequence[str], Sequence[Any]], ScriptCall]:
    """Return what makes of KEYS and ARGV a call of the script with this text."""
    digest = sha1(text.encode(), usedforsecurity=False).hexdigest()

    def call(keys: Sequence[str], arguments: Sequence[Any]) -> ScriptCall:
        return ScriptCall(text, digest, (len(keys), *keys, *arguments))

    return call


def read(*names: str) -> str:
    """Return the named scripts as one text."""
    return "\n".join((files(__name__) / f"{name}.lua").read_text("utf-8") for name in names)
