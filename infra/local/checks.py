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


def run_checks(pytest_arguments: Sequence[str]) -> int:
    """Run every check whatever becomes of the others; return 0 when all of them passed.

    Args:
        pytest_arguments: Passed on to pytest, which comes last: its summary is the end of the output.

    """
    passed = [_check(name, command) for name, command in _QUICK.items()]
    print("tests", flush=True)
    tests = subprocess.run([sys.executable, "-m", *_PYTEST, *pytest_arguments], check=False)
    return 0 if all(passed) and tests.returncode == 0 else 1


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
