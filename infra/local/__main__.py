"""The commands behind `./dev`: `python -m infra.local up | token | users | keys | test`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from infra.local.checks import run_checks
from infra.local.demo_account import fresh_token, kept_account
from infra.local.errors import LocalStackError, NothingRunsError
from infra.local.settings import StackSettings
from infra.local.state_directory import ACCOUNT, published_address, published_environment
from infra.local.up import up
from shared.settings import SettingsError, load, read_environment

_FAILED = 1
_WRONG_USE = 2


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(_WRONG_USE, f"{self.prog}: {message}. Example: ./dev up --gateways 2 --workers 3\n")


def main(arguments: Sequence[str]) -> int:
    """Do what `arguments` ask for and return the exit code."""
    try:
        match arguments:
            case ["up", *options]:
                return _up(options)
            case ["token"]:
                return _token()
            case ["users" | "keys", *_]:
                _become_operator(arguments)
            case ["test", *pytest_arguments]:
                return run_checks(pytest_arguments)
            case _:
                fault = f"unknown command: {' '.join(arguments) or 'none'}. Example: ./dev up"
                code = _WRONG_USE
    except SettingsError as error:
        fault, code = str(error), _WRONG_USE
    except LocalStackError as error:
        fault, code = str(error), _FAILED
    print(f"dev: {fault}", file=sys.stderr)
    return code


def _up(options: Sequence[str]) -> int:
    parser = _OneLineParser(
        prog="dev up", description="Run the whole product on this machine, until Ctrl-C.", allow_abbrev=False
    )
    parser.add_argument("--gateways", metavar="N", help="how many to start, from APP_PORT on; or UP_GATEWAYS")
    parser.add_argument("--workers", metavar="N", help="how many to start; or UP_WORKERS")
    asked = parser.parse_args(options)
    surroundings = read_environment()
    flags = {"UP_GATEWAYS": asked.gateways, "UP_WORKERS": asked.workers}
    settings = load(StackSettings, surroundings | {name: value for name, value in flags.items() if value is not None})
    try:
        asyncio.run(up(settings, surroundings, _say))
    except (asyncio.CancelledError, KeyboardInterrupt):
        _say("stopped")
    return 0


def _become_operator(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the operators' command, with the settings of the gateways of the stack that runs."""
    state = _state()
    environment = published_environment(state)
    if environment is None:
        raise NothingRunsError(state)
    command = [sys.executable, "-m", "gateway.operators", *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606  our own module  # nosec B606


def _token() -> int:
    state = _state()
    address = published_address(state)
    if address is None:
        raise NothingRunsError(state)
    print(asyncio.run(fresh_token(address, kept_account(state / ACCOUNT))))
    return 0


def _state() -> Path:
    return Path(load(StackSettings, read_environment()).state_dir)


def _say(text: str) -> None:
    """Print `text`; a terminal that has gone away must not keep the stack from ending in order."""
    with suppress(OSError):
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
