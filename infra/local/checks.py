"""`./dev test`: what must hold before a change is merged, the same here and in CI."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_BIN = Path(sys.executable).parent
_PACKAGES = ("gateway", "worker", "shared", "migrations", "infra")
_QUICK = {
    "format": ("ruff", "format", "--check", "."),
    "lint": ("ruff", "check", "."),
    "types": ("pyright",),
    "imports": ("lint-imports",),
    "security": ("bandit", "--quiet", "--configfile=pyproject.toml", "--recursive", *_PACKAGES),
}
_PYTEST = (
    "pytest",
    "--numprocesses=logical",
    "--maxprocesses=4",
    "--dist=worksteal",
    "-rs",
)  # -rs: name what is skipped
_CLIENTS = "clients"
_CLIENTS_PYTHON = Path(".venv-clients/bin/python")
_CLIENTS_TESTS = "tests/clients"


def run_checks(words: Sequence[str]) -> int:
    """Run every check whatever becomes of the others; return 0 when all of them passed.

    Args:
        words: Passed on to pytest, without the tests with real clients then, or after `clients` for those alone. pytest
            comes last: its summary is the end of the output.

    """
    if words[:1] == [_CLIENTS]:
        return 0 if _check_clients(words[1:]) else 1
    passed = [_check(name, command) for name, command in _QUICK.items()]
    print("tests", flush=True)
    passed.append(_passes([sys.executable, "-m", *_PYTEST, *words]))
    if not words:
        passed.append(_check_clients(()))
    return 0 if all(passed) else 1


def _check_clients(pytest_arguments: Sequence[str]) -> bool:
    """Run what needs the environment of the real clients: docs/decisions/0024-real-clients.md."""
    print("real clients", flush=True)
    types_are_right = _check("types", ("pyright", "--project", _CLIENTS_TESTS))
    return _passes([_CLIENTS_PYTHON, "-m", "pytest", "-rs", _CLIENTS_TESTS, *pytest_arguments]) and types_are_right


def _passes(command: Sequence[str | Path]) -> bool:
    return subprocess.run(command, check=False).returncode == 0


def _check(name: str, command: Sequence[str]) -> bool:
    """Run one check and say how it went; only one that fails shows what it says."""
    print(f"{name:<8}", end="", flush=True)
    began_s = time.monotonic()
    program, *arguments = command
    result = subprocess.run(
        [_BIN / program, *arguments], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    passed = result.returncode == 0
    print(f"{'passed' if passed else 'FAILED'} in {time.monotonic() - began_s:.1f} s", flush=True)
    if not passed:
        print(result.stdout, flush=True)
    return passed
