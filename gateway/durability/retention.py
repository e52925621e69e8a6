"""Forgets answers that are older than `JOB_RETENTION_DAYS`, a few at a time; what a job cost stays."""

import asyncio
import logging

from shared.database import jobs
from shared.database.engine import Database

LOOK_EVERY_S = 60.0
BATCH = 200

_log = logging.getLogger(__name__)


async def forget_old_answers(database: Database, *, retention_days: int) -> None:
    """Forget until cancelled; every gateway tries, one at a time does."""
    while True:
        try:
            while await _forget_some(database, retention_days) == BATCH:
                pass
        except Exception as error:  # noqa: BLE001  PostgreSQL is away, or not migrated yet
            _log.warning("answers_unforgotten", extra={"error": str(error)})
        await asyncio.sleep(LOOK_EVERY_S)


async def _forget_some(database: Database, retention_days: int) -> int:
    async with database.transaction() as connection:
        return await jobs.forget_answers(connection, older_than_days=retention_days, limit=BATCH)
