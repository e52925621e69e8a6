"""Does one thing, users … or keys …, says how it went, and ends with 0, 1 (refused) or 2 (wrong use)."""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Sequence

import msgspec

from gateway.operators import command_line, key_acts, settings, user_acts
from gateway.operators.errors import NotToldError, WrongUseError
from gateway.operators.office import opened
from gateway.operators.password_entry import enter_password
from gateway.operators.settings import OperatorSettings
from shared import log
from shared.errors import DeeperSensorError, StoreUnavailableError
from shared.settings import SettingsError, read_environment

EXIT_REFUSED = 1
EXIT_WRONG_USE = 2
EXIT_INTERRUPTED = 130

_WHERE_TO_LOOK = "Do DATABASE_URL and REDIS_URL name servers that let us in, and has deepersensor migrate run?"


def main(arguments: Sequence[str]) -> int:
    """Do what `arguments` say and return the exit code."""
    try:
        asked = command_line.parse(arguments)
        own = settings.read(read_environment())
        log.configure(own.app, role="operator")
        user_acts.confirm(asked)
        password = enter_password() if user_acts.takes_a_password(asked) else ""
        print(asyncio.run(_perform(own, asked, password)))  # noqa: T201  a command
    except (EOFError, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  also of servers that refuse us, in the words of one of three libraries
        code, message, exit_code = _explain(error, arguments)
        if "--json" in arguments:
            message = msgspec.json.encode({"error": {"code": code, "message": message}}).decode()
        else:
            message = f"deepersensor: {message}"
        print(message, file=sys.stderr)  # noqa: T201
        return exit_code
    return 0


def _explain(error: Exception, arguments: Sequence[str]) -> tuple[str, str, int]:
    """Return what went wrong as a code, as one sentence, and as an exit code."""
    match error:
        case WrongUseError():
            told = "wrong_use", f"{error}. Example: {command_line.example_of(arguments)}", EXIT_WRONG_USE
        case SettingsError():
            told = "wrong_setting", str(error), EXIT_WRONG_USE
        case NotToldError():
            told = "not_told", str(error), EXIT_REFUSED
        case StoreUnavailableError():
            said = f" {_reason(error.__cause__)}." if error.__cause__ else ""
            told = error.code, f"{error.message}{said} {_WHERE_TO_LOOK}", EXIT_REFUSED
        case DeeperSensorError():
            told = error.code, error.message, EXIT_REFUSED
        case _:
            told = "internal_error", f"{_reason(error)}. {_WHERE_TO_LOOK}", EXIT_REFUSED
    return told


def _reason(error: BaseException) -> str:
    """Return the first line of what a server, or the library before it, has said."""
    return str(getattr(error, "orig", error)).partition("\n")[0] or type(error).__name__


async def _perform(own: OperatorSettings, asked: argparse.Namespace, password: str) -> str:
    with log.bound(operator=_operator()):
        async with opened(own) as office:
            if asked.subject == "keys":
                return await key_acts.perform(asked, office.users, office.keyring)
            return await user_acts.perform(asked, office.users, password)


def _operator() -> str:
    """Return who this is to the machine: a name, or a number that has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
