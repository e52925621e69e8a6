"""`deepersensor users …`: what is done, and what is said of it."""

import argparse
import sys

from gateway.operators.answers import as_json, as_table
from gateway.operators.errors import WrongUseError
from gateway.operators.users import ShownUser, UserOffice
from shared.database.users import Role

_COLUMNS = ("id", "email", "role", "created_at", "disabled_at")
_TAKES_A_PASSWORD = frozenset({"create", "set-password"})


def takes_a_password(asked: argparse.Namespace) -> bool:
    """Tell whether an act needs a password."""
    return asked.subject == "users" and asked.act in _TAKES_A_PASSWORD


def confirm(asked: argparse.Namespace) -> None:
    """Make sure that what cannot be undone is meant.

    Raises:
        WrongUseError: It is not, or nobody can be asked.

    """
    if (asked.subject, asked.act) != ("users", "delete") or asked.yes:
        return
    if not sys.stdin.isatty():
        raise WrongUseError("deleting an account cannot be undone: say --yes")
    if input(f"Delete {asked.who} and all that belongs to it? Type yes: ") != "yes":
        raise WrongUseError("nothing was deleted")


async def perform(asked: argparse.Namespace, office: UserOffice, password: str) -> str:
    """Do what is asked and return what to print.

    Raises:
        DeeperSensorError: It cannot be done; see `UserOffice`.

    """
    match asked.act:
        case "create":
            role = Role.ADMIN if asked.admin else Role.USER
            return _told(asked, await office.create(asked.who, password=password, role=role), f"is made, as {role}")
        case "disable":
            return _told(asked, await office.disable(asked.who), "is disabled")
        case "enable":
            return _told(asked, await office.enable(asked.who), "is enabled")
        case "set-password":
            user = await office.set_password(asked.who, password=password)
            return _told(asked, user, "has a new password, and no session any more")
        case "delete":
            return _told(asked, await office.delete(asked.who), "is deleted")
        case _:
            everybody = [user async for user in office.everybody()]
            return as_json(everybody) if asked.json else as_table(everybody, _COLUMNS)


def _told(asked: argparse.Namespace, user: ShownUser, outcome: str) -> str:
    return as_json(user) if asked.json else f"{user.email} ({user.id}) {outcome}."
