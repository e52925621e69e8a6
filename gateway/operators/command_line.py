"""The words of the commands: what there is to do, and to whom."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import msgspec

from gateway.accounts.schemas import Email
from gateway.operators.errors import WrongUseError
from shared.ids import is_id

_EXAMPLES = {
    "users": "deepersensor users create ada@example.org --admin",
    "keys": "deepersensor keys create ada@example.org nightly-report",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise WrongUseError(message)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what is to be done: `subject`, `act`, `json`, and what belongs to the act.

    Raises:
        WrongUseError: It is not a command.

    """
    parser = _Parser(prog="deepersensor", allow_abbrev=False, add_help=False)
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="users|keys", parser_class=_Parser)
    _add_users(subjects.add_parser("users", prog="deepersensor users", allow_abbrev=False))
    _add_keys(subjects.add_parser("keys", prog="deepersensor keys", allow_abbrev=False))
    asked = parser.parse_args(arguments)
    makes_user = (asked.subject, asked.act) == ("users", "create")
    if "who" in asked and (makes_user or not is_id(asked.who)):
        asked.who = _email(asked.who)
    return asked


def example_of(arguments: Sequence[str]) -> str:
    """Return a command that is right, for somebody whose `arguments` were not."""
    return _EXAMPLES.get(arguments[0] if arguments else "", _EXAMPLES["users"])


def _add_users(parser: argparse.ArgumentParser) -> None:
    parser.description = "Accounts. Passwords are asked for, or read from standard input; they are no arguments."
    acts = parser.add_subparsers(dest="act", required=True, metavar="act", parser_class=_Parser)
    act = partial(_act, acts.add_parser)
    create = act("create", "make an account, also where sign-up is closed", "ada@example.org")
    create.add_argument("--admin", action="store_true", help="who sees and steers what is everybody's")
    act("list", "show all accounts", None)
    act("disable", "let nothing of an account in any more, anywhere, within 5 s", "its e-mail address or id")
    act("enable", "let an account in again", "its e-mail address or id")
    act("set-password", "change a password and end all sessions", "its e-mail address or id")
    delete = act("delete", "delete an account with all that belongs to it", "its e-mail address or id")
    delete.add_argument("--yes", action="store_true", help="do not ask whether this is meant")


def _add_keys(parser: argparse.ArgumentParser) -> None:
    parser.description = "API keys of users."
    acts = parser.add_subparsers(dest="act", required=True, metavar="act", parser_class=_Parser)
    act = partial(_act, acts.add_parser)
    whose = "e-mail address or id of its owner"
    create = act("create", "make a key, which is shown only this once", whose)
    create.add_argument("name", help="what its owner knows it by")
    create.add_argument("--scope", action="append", help="chat, conversations or usage; again for more; else all")
    create.add_argument("--model", action="append", help="a model that it may ask; again for more; else all")
    create.add_argument("--expires-at", metavar="TIME", help="as 2027-01-31T12:00:00Z; else never")
    act("list", "show the keys of a user", "their e-mail address or id")
    revoke = act("revoke", "let a key in no more, anywhere, within 5 s", whose)
    revoke.add_argument("key_id", metavar="key", help="its id, as list shows it")


def _act(add: Callable[..., _Parser], name: str, meaning: str, who: str | None) -> _Parser:
    act = add(name, help=meaning, description=f"{meaning[0].upper()}{meaning[1:]}.", allow_abbrev=False)
    if who is not None:
        act.add_argument("who", metavar="user", help=who)
    act.add_argument("--json", action="store_true", help="answer as JSON, for programs")
    return act


def _email(text: str) -> str:
    """Return an e-mail address in the form in which it is stored."""
    try:
        return msgspec.convert(text, Email).lower()
    except msgspec.ValidationError:
        raise WrongUseError(f"{text!r} is no e-mail address") from None
