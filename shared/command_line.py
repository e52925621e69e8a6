"""`deepersensor <role>`: replaces itself by the role's own package, so that no role is imported by another."""

import argparse
import os
import sys
from typing import NoReturn

ROLES = {
    "gateway": ("gateway",),
    "worker": ("worker",),
    "migrate": ("migrations",),
    "up": ("infra.local", "up"),
    "users": ("gateway.operators", "users"),
    "keys": ("gateway.operators", "keys"),
}
_MEANINGS = """roles:
  gateway   serve the HTTP API (APP_HOST, APP_PORT, REDIS_URL, DATABASE_URL, JWT_SECRET)
  worker    serve jobs with the Ollama beside it (REDIS_URL, DATABASE_URL, OLLAMA_BASE_URL)
  migrate   bring the database's schema up to date and exit (DATABASE_URL)
  up        start a whole local stack: servers, migrations, gateways, workers
  users     create, list, disable, enable, set-password, delete accounts
  keys      create, list, revoke API keys

Every setting is an environment variable; env.sample lists them all."""


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; the roles are {', '.join(ROLES)}. Example: deepersensor gateway\n")


def main() -> None:
    """Start the role named by the first argument; what follows is passed on to it."""
    parser = _OneLineParser(prog="deepersensor", epilog=_MEANINGS, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", nargs="?", metavar="role")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.role not in ROLES:
        parser.error("no role is given" if given.role is None else f"there is no role {given.role}")
    module, *words = ROLES[given.role]
    os.execv(sys.executable, [sys.executable, "-m", module, *words, *given.arguments])  # noqa: S606  our own modules  # nosec B606
