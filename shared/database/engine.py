"""Opens PostgreSQL: one pool per process, a deadline for every step, and its faults told in our words."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import StoreUnavailableError
from shared.settings import DatabaseSettings, SettingsError, load

CONNECT_TIMEOUT_S = 4.0
ACQUIRE_TIMEOUT_S = 4.0  # for a connection of the pool that answers; longer only piles up requests
POOL_SIZE = 10
POOL_OVERFLOW = 10  # beyond POOL_SIZE under load, closed afterwards
POOL_RECYCLE_S = 1800  # proxies in between forget idle connections sooner or later
STATEMENT_TIMEOUT_MS = 5_000
COMMAND_TIMEOUT_S = 6.0  # ours, for a server that is frozen or unplugged and keeps no deadline; later than its own
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
RETRY_AFTER_S = 2.0

_DRIVER = "postgresql+asyncpg"
_HIGHEST_PORT = 65_535
_PARAMETERS = {"host", "port", "ssl", "sslmode"}
_EXAMPLE = "DATABASE_URL=postgresql://deepersensor:secret@127.0.0.1:5432/deepersensor?sslmode=require"
# Connection, login, database, resources, operator intervention (57014: our own deadline).
_OUT_OF_REACH_SQLSTATES = ("08", "28", "3D", "53", "57")


class Database:
    """A pool of connections to PostgreSQL; connects at first use."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection]:
        """Yield a connection inside a transaction that commits at the end, and rolls back on an exception.

        Raises:
            StoreUnavailableError: PostgreSQL is out of reach, overloaded, or missed a deadline. Nothing was committed,
                unless the connection broke during the commit itself.

        """
        try:
            async with self._connection() as connection:
                yield connection
                await connection.commit()
        except (OSError, PoolTimeoutError) as error:  # TimeoutError is an OSError
            raise _unavailable() from error
        except DBAPIError as error:
            if _is_out_of_reach(error):
                raise _unavailable() from error
            raise

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[AsyncConnection]:
        """Yield a connection that rolls back at the end, or is closed when a statement of it was given up.

        Its rollback would wait without a deadline until the server has confirmed that the statement is cancelled.
        """
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(ACQUIRE_TIMEOUT_S):
                connection = await stack.enter_async_context(self._engine.connect())
            try:
                yield connection
            except (TimeoutError, asyncio.CancelledError):
                await connection.invalidate()
                raise

    async def ping(self) -> None:
        """Return when PostgreSQL has answered.

        Raises:
            StoreUnavailableError: It did not.

        """
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections; those in use are closed when they come back."""
        await self._engine.dispose()


def load_settings(environment: Mapping[str, str]) -> DatabaseSettings:
    """Return where `environment` says that PostgreSQL is.

    Raises:
        SettingsError: A value is wrong.

    """
    settings = load(DatabaseSettings, environment)
    asyncpg_url(settings.database_url)
    return settings


def connect(database_url: str, *, role: str) -> Database:
    """Return a pool for `database_url`; `role` shows up as `application_name` in `pg_stat_activity`."""
    return Database(
        create_async_engine(
            asyncpg_url(database_url),
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=ACQUIRE_TIMEOUT_S,
            pool_recycle=POOL_RECYCLE_S,
            pool_pre_ping=True,
            hide_parameters=True,  # an error is logged, and they are prompts and answers
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                "command_timeout": COMMAND_TIMEOUT_S,
                "server_settings": {
                    "application_name": f"deepersensor {role}",
                    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
                },
            },
        )
    )


def asyncpg_url(database_url: str) -> URL:
    """Return `postgres://`, `postgresql://` or `postgresql+asyncpg://` as the URL of the driver we use.

    libpq's `sslmode` becomes asyncpg's `ssl`; a unix socket is named as `?host=/directory`, as in libpq.

    Raises:
        SettingsError: It is not such a URL, or has a parameter that would be ignored.

    """
    try:
        url = make_url(database_url).set(drivername=_DRIVER)
    except (ArgumentError, ValueError):
        raise SettingsError(f"DATABASE_URL is wrong: it is no URL. Example: {_EXAMPLE}") from None
    if url.port is not None and not 1 <= url.port <= _HIGHEST_PORT:
        raise SettingsError(f"DATABASE_URL is wrong: its port is not from 1 to {_HIGHEST_PORT}. Example: {_EXAMPLE}")
    if unknown := url.query.keys() - _PARAMETERS:
        raise SettingsError(f"DATABASE_URL is wrong: parameter `{min(unknown)}` is not known. Example: {_EXAMPLE}")
    sslmode = url.query.get("sslmode")
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": sslmode}) if sslmode else url


def _is_out_of_reach(error: DBAPIError) -> bool:
    sqlstate = str(getattr(error.orig, "sqlstate", None) or "")
    return error.connection_invalidated or sqlstate.startswith(_OUT_OF_REACH_SQLSTATES)


def _unavailable() -> StoreUnavailableError:
    return StoreUnavailableError("The database cannot be reached just now.", retry_after_s=RETRY_AFTER_S)
