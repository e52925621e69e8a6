"""Finds whom PostgreSQL runs as when we are root: it refuses to, and so it should."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from infra.local.errors import NoAccountError

_NAME = "nobody"  # every system has it, and nothing of value belongs to it


class PopenIdentity(TypedDict):
    """The arguments of `subprocess.Popen` that say whom the child runs as; None is as we do."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None


@dataclass(frozen=True)
class Account:
    """A user of the system to run a process as; without ids it is who we are."""

    uid: int | None = None
    gid: int | None = None

    def as_popen_arguments(self) -> PopenIdentity:
        """Return what makes `subprocess.Popen` start the child as this user, with no other group of ours."""
        return {"user": self.uid, "group": self.gid, "extra_groups": None if self.uid is None else []}

    def own(self, path: Path) -> None:
        """Give `path` to this user."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def may(self, act: str, path: Path) -> bool:
        """Tell whether this user may read (`-r`), write (`-w`) or run (`-x`) `path`, all its parents considered."""
        command = ["test", act, path]
        test = subprocess.run(command, check=False, **self.as_popen_arguments())  # of our PATH  # nosec B607
        return test.returncode == 0


def account_for_servers() -> Account:
    """Return whom servers run as: an unprivileged user when we are root, ourselves otherwise.

    Raises:
        NoAccountError: We are root and the system has no unprivileged user, or does not let us become it.

    """
    if os.geteuid() != 0:
        return Account()
    try:
        entry = pwd.getpwnam(_NAME)
        account = Account(entry.pw_uid, entry.pw_gid)
        account.may("-r", Path("/"))
    except (KeyError, OSError, subprocess.SubprocessError):
        raise NoAccountError(
            f"PostgreSQL does not run as root, and user `{_NAME}` cannot be used here: run ./dev as another user"
        ) from None
    return account
