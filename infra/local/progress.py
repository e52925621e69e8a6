"""Shows that a command that takes a while is at work; needs nothing but the standard library of a bare Python."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_TICK_S = 1.0


def run_with_dots(what: str, command: Sequence[str | Path]) -> None:
    """Run `command`, a dot for each second that it takes; show its output only if it fails.

    Raises:
        SystemExit: It failed; says so after what it said itself.

    """
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
