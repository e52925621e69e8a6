"""Makes a virtual environment hold what lock files name.

`python3 -m infra.local.virtual_environment up | test | clients` runs on the system's bare Python, so it needs nothing
but the standard library. Installs with uv where there is one, else with the system's pip, else with the pip inside
Python: distributions leave out one or the other.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from infra.local.progress import run_with_dots

_PRODUCT, _CLIENTS = Path(".venv"), Path(".venv-clients")
_CONTENTS = {
    "up": (_PRODUCT, ("requirements.lock", "infra/local/requirements.lock")),
    "test": (_PRODUCT, ("requirements-dev.lock",)),  # has everything of `up` too
    "clients": (_CLIENTS, ("tests/clients/requirements.lock",)),
}


def main(purpose: str) -> None:
    """Install what `purpose` needs into its environment in the current directory, unless that was done before.

    Raises:
        SystemExit: With a line that says why this cannot be done.

    """
    checkout = os.open(".", os.O_RDONLY)
    fcntl.flock(checkout, fcntl.LOCK_EX)  # another ./dev may be installing; let go when this process ends
    venv, locks = _CONTENTS[purpose]
    python, stamp, digest = venv / "bin" / "python", venv / f"installed-{purpose}", _digest_of_locks(venv)
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return
    installer = _installer(venv, python)
    if not python.exists():
        shutil.rmtree(venv, ignore_errors=True)
        run_with_dots(f"making {venv}", installer.make)
    what = f"installing {'clients' if venv is _CLIENTS else 'packages'} with {installer.name}"
    named = [word for lock in locks for word in ("-r", lock)]
    run_with_dots(what, [*installer.install, "--require-hashes", "--no-deps", *named])
    stamp.write_text(digest)


class _Installer:
    """The commands of one way to install."""

    def __init__(self, name: str, make: Sequence[str | Path], install: Sequence[str | Path]) -> None:
        self.name = name
        self.make = make
        self.install = install


def _installer(venv: Path, python: Path) -> _Installer:
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--python", sys.executable, venv]
        return _Installer("uv", make, [uv, "pip", "install", "--python", python])
    make = [sys.executable, "-m", "venv", venv]
    install = ["install", "--no-compile"]  # compiling what nobody imports takes half of the time
    if find_spec("venv") and find_spec("pip"):
        return _Installer("pip", [*make, "--without-pip"], [sys.executable, "-m", "pip", "--python", python, "install"])
    if find_spec("venv") and find_spec("ensurepip"):
        return _Installer("pip", make, [python, "-m", "pip", *install])
    sys.exit(f"dev: {sys.executable} can make no virtual environment. Example: apt install python3-venv")


def _digest_of_locks(venv: Path) -> str:
    locks = sorted({lock for where, several in _CONTENTS.values() if where is venv for lock in several})
    return hashlib.sha256(b"".join(Path(lock).read_bytes() for lock in locks)).hexdigest()


if __name__ == "__main__":
    main(sys.argv[1])
