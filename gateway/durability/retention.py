"""Forgets what is too old, a few rows at a time: answers after `JOB_RETENTION_DAYS`, sessions that have expired.

What a job cost stays.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from shared.clock import Clock, now
from shared.database import jobs, sessions
from shared.database.engine import Database

LOOK_EVERY_S = 60.0
BATCH = 200

_log = logging.getLogger(__name__)


async def forget_old_answers(database: Database, *, retention_days: int) -> None:
    """Forget until cancelled; every gateway tries, one at a time does."""

    async def forget_some() -> int:
        async with database.transaction() as connection:
            return await jobs.forget_answers(connection, older_than_days=retention_days, limit=BATCH)

    await _go_on(forget_some, unable="answers_unforgotten")


async def forget_expired_sessions(database: Database, clock: Clock) -> None:
    """Forget until cancelled; every gateway tries, one at a time does."""

    async def forget_some() -> int:
        async with database.transaction() as connection:
            return await sessions.forget_expired(connection, now=now(clock), limit=BATCH)

    await _go_on(forget_some, unable="sessions_unforgotten")


async def _go_on(forget_some: Callable[[], Awaitable[int]], *, unable: str) -> None:
    while True:
        try:
            while await forget_some() == BATCH:
                pass
        except Exception as error:  # noqa: BLE001  PostgreSQL is away, or not migrated yet
            _log.warning(unable, extra={"error": str(error)})
        await asyncio.sleep(LOOK_EVERY_S)
