"""The directory of one local stack: data, secrets and logs, and the lock that keeps a second stack out."""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from infra.local.errors import InUseError
from infra.local.secret_file import write_secret
from shared.settings import SettingsError

ACCOUNT = "demo_account"  # file of the account that the stack makes for itself
_ADDRESS = "address"
_ENVIRONMENT = "environment"  # of a gateway, with its secrets
_EXAMPLE = "Example: STATE_DIR=.state"
_UNQUOTABLE = set("\"'\\")  # in the configuration of Valkey and of PostgreSQL
_SECRET_BYTES = 32
_LAST_RUN_MAY_TAKE_S = 15.0  # until PostgreSQL has gone after its supervisor was killed
_RETRY_S = 0.1


class StateDirectory:
    """A claimed directory; nobody but the processes that hold `lock` uses it."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock
        """A file descriptor that the servers inherit: the claim ends with the last of them, not with us."""

    def log(self, name: str) -> Path:
        """Return the log file of the process `name`."""
        return self.path / "logs" / f"{name}.log"

    @contextmanager
    def published(self, address: str, environment: Mapping[str, str]) -> Generator[None]:
        """Let `published_address` tell `address`, and `published_environment` that, for the time of the context."""
        files = self.path / _ADDRESS, self.path / _ENVIRONMENT
        files[0].write_text(address)
        write_secret(files[1], json.dumps(dict(environment)))
        try:
            yield
        finally:
            for file in files:
                file.unlink()

    def secret(self, name: str) -> str:
        """Return the secret `name`, 64 hexadecimal digits, made when there is none; only we may read its file."""
        file = self.path / name
        if not file.exists():
            write_secret(file, secrets.token_hex(_SECRET_BYTES))
        return file.read_text()


@contextmanager
def claim(path: Path) -> Generator[StateDirectory]:
    """Make `path` ours for the time of the context; logs of the run before are gone.

    Blocks while processes of a killed run are still ending.

    Raises:
        SettingsError: There can be no such directory, or its name cannot be written into a configuration file.
        InUseError: A stack runs there, leftovers of one do not end, or it belongs to another user.

    """
    path, lock = _open(path)
    try:
        _take(lock, path)
        logs = path / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        for log in logs.glob("*.log"):
            log.unlink()
        yield StateDirectory(path, lock)
    finally:
        os.close(lock)


def _open(path: Path) -> tuple[Path, int]:
    """Return the whole path of the directory, made when there is none, and the open lock file in it."""
    try:
        path = path.resolve()
        if _UNQUOTABLE & set(str(path)) or not str(path).isprintable():
            raise SettingsError(f"STATE_DIR is wrong: its path has a quote, a backslash or a line end. {_EXAMPLE}")
        # Root's PostgreSQL runs as another user who must pass through, and can do no more than that.
        path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        if path.stat().st_uid != os.geteuid():
            example = f"STATE_DIR=/var/tmp/state-{os.geteuid()}"
            raise InUseError(f"STATE_DIR {path} belongs to another user. Example: {example}")
        return path, os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except (OSError, RuntimeError) as error:  # a RuntimeError for links that go round in a circle
        fault = (getattr(error, "strerror", None) or "its links go round in a circle").lower()
        raise SettingsError(f"STATE_DIR {path} can be no directory of ours: {fault}. {_EXAMPLE}") from None


def published_address(path: Path) -> str | None:
    """Return where the stack that uses `path` is reached, or None when none does."""
    try:
        return (path / _ADDRESS).read_text()
    except OSError:
        return None


def published_environment(path: Path) -> dict[str, str] | None:
    """Return the settings of the gateways of the stack that uses `path`, or None when none does."""
    try:
        return json.loads((path / _ENVIRONMENT).read_text())
    except OSError:
        return None


def _take(lock: int, path: Path) -> None:
    give_up_at = time.monotonic() + _LAST_RUN_MAY_TAKE_S
    while not _lock_now(lock):
        holder = int(os.pread(lock, 20, 0) or 0)
        if holder and _is_alive(holder):
            raise InUseError(
                f"STATE_DIR {path} is in use by process {holder}. Example: STATE_DIR=.state-2 APP_PORT=8100"
            )
        if time.monotonic() > give_up_at:
            raise InUseError(f"STATE_DIR {path} is in use by what an earlier run left. Example: STATE_DIR=.state-2")
        time.sleep(_RETRY_S)
    os.truncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _lock_now(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
