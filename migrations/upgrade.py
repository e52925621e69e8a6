"""Brings the schema up to date, once, however many processes try at the same time."""

import logging
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from migrations.roles import DatabaseRole, RoleMissingError, grant
from shared.database.engine import CONNECT_TIMEOUT_S, asyncpg_url

_LOCK = 7_236_912_049_853_301  # any number that nobody else takes an advisory lock on


class MigrationError(Exception):
    """The schema is not up to date; the message is one line that says what to look at."""


async def upgrade(database_url: str, *, revision: str = "head", roles: Sequence[DatabaseRole] = ()) -> str:
    """Take every missing step up to `revision` in one transaction and return the revision the schema is at.

    In the same transaction `roles` are granted what they need. Other processes that do the same wait, then find nothing
    to do. If a step fails, none is taken.

    Raises:
        MigrationError: PostgreSQL cannot be reached, or refused the login, a step or a grant.
        SettingsError: `database_url` is not one.

    """
    url = asyncpg_url(database_url)
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": CONNECT_TIMEOUT_S})
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            await connection.run_sync(_upgrade, revision)
            await connection.run_sync(grant, roles)
    except RoleMissingError as error:
        raise MigrationError(
            f"There is no role {error}, and {url.username} may not make one. "
            f"Example: CREATE ROLE {error} LOGIN PASSWORD 'secret'"
        ) from None
    except (OSError, DBAPIError) as error:
        raise MigrationError(_explain(url, error)) from error
    finally:
        await engine.dispose()
    return ScriptDirectory.from_config(_config()).get_current_head() or "base"


def _explain(url: URL, error: OSError | DBAPIError) -> str:
    reason = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
    return (
        f"The schema could not be brought up to date at {url.render_as_string(hide_password=True)}:"
        f" {reason or type(error).__name__}. Does DATABASE_URL name a PostgreSQL that runs?"
    )


def _upgrade(connection: Connection, revision: str) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # its news are what dialect PostgreSQL speaks
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _config() -> Config:
    """Alembic's settings, made here because they are one line and need no file of their own."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
