"""Makes `.venv` hold what the lock files name: `python3 -m infra.local.virtual_environment up | test`.

Runs on the system's bare Python, so it needs nothing but the standard library. Installs with uv where there is one,
else with the system's pip, else with the pip inside Python: distributions leave out one or the other.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

_VENV = Path(".venv")
_PYTHON = _VENV / "bin" / "python"
_LOCKS = {
    "up": ("requirements.lock", "infra/local/requirements.lock"),
    "test": ("requirements-dev.lock",),  # has everything of `up` too
}
_TICK_S = 1.0


def main(purpose: str) -> None:
    """Install what `purpose` needs into `.venv` of the current directory, unless that was done before.

    Raises:
        SystemExit: With a line that says why this cannot be done.

    """
    checkout = os.open(".", os.O_RDONLY)
    fcntl.flock(checkout, fcntl.LOCK_EX)  # another ./dev may be installing; let go when this process ends
    stamp, digest = _VENV / f"installed-{purpose}", _digest_of_locks()
    if _PYTHON.exists() and stamp.exists() and stamp.read_text() == digest:
        return
    installer = _installer()
    if not _PYTHON.exists():
        shutil.rmtree(_VENV, ignore_errors=True)
        _run("making .venv", installer.make)
    locks = [word for lock in _LOCKS[purpose] for word in ("-r", lock)]
    _run(f"installing packages with {installer.name}", [*installer.install, "--require-hashes", "--no-deps", *locks])
    stamp.write_text(digest)


class _Installer:
    """The commands of one way to install."""

    def __init__(self, name: str, make: Sequence[str | Path], install: Sequence[str | Path]) -> None:
        self.name = name
        self.make = make
        self.install = install


def _installer() -> _Installer:
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--python", sys.executable, _VENV]
        return _Installer("uv", make, [uv, "pip", "install", "--python", _PYTHON])
    make = [sys.executable, "-m", "venv", _VENV]
    install = ["install", "--no-compile"]  # compiling what nobody imports takes half of the time
    if find_spec("venv") and find_spec("pip"):
        return _Installer(
            "pip", [*make, "--without-pip"], [sys.executable, "-m", "pip", "--python", _PYTHON, "install"]
        )
    if find_spec("venv") and find_spec("ensurepip"):
        return _Installer("pip", make, [_PYTHON, "-m", "pip", *install])
    sys.exit(f"dev: {sys.executable} can make no virtual environment. Example: apt install python3-venv")


def _digest_of_locks() -> str:
    locks = sorted({lock for several in _LOCKS.values() for lock in several})
    return hashlib.sha256(b"".join(Path(lock).read_bytes() for lock in locks)).hexdigest()


def _run(what: str, command: Sequence[str | Path]) -> None:
    """Run `command`, a dot for each second that it takes; show its output only if it fails."""
    print(what, end=" ", flush=True)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        while (code := _wait_a_tick(process)) is None:
            print(".", end="", flush=True)
        print(flush=True)
        if code != 0:
            output.seek(0)
            sys.exit(f"{output.read()}dev: {what} failed; the reason stands above")


def _wait_a_tick(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_TICK_S)
    except subprocess.TimeoutExpired:
        return None


if __name__ == "__main__":
    main(sys.argv[1])
