"""Takes a password from whoever calls a command: asked for twice at a terminal, otherwise a line of standard input.

Never from the command line, which every process of the machine may read, and every shell remembers.
"""

import sys
from getpass import getpass

from gateway.operators.errors import WrongUseError


def enter_password() -> str:
    """Return the password.

    Raises:
        WrongUseError: There is none, or the two are not the same.

    """
    password = _ask_twice() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise WrongUseError("no password was given: type one, or pass it in. Example: … < /run/secrets/password")
    return password


def _ask_twice() -> str:
    password = getpass("Password: ")
    if getpass("Again: ") != password:
        raise WrongUseError("the two passwords are not the same")
    return password
