"""Brings the schema up to date as a step of its own: `python -m migrations`."""

import asyncio
import sys

from migrations.roles import roles_of
from migrations.settings import RoleSettings
from migrations.upgrade import MigrationError, upgrade
from shared.settings import DatabaseSettings, SettingsError, load, read_environment

EXIT_FAILED = 1
EXIT_WRONG_SETTINGS = 2


def main() -> int:
    """Migrate, say in one line how it went, and return the exit code."""
    try:
        environment = read_environment()
        settings, roles = load(DatabaseSettings, environment), roles_of(load(RoleSettings, environment))
        revision = asyncio.run(upgrade(settings.database_url, roles=roles))
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  a command
        return EXIT_WRONG_SETTINGS
    except MigrationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_FAILED
    print(f"The schema is at revision {revision}.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
