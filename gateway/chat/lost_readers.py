"""Ends streams of durable jobs that will never go on: Redis has lost them, and PostgreSQL does not have them to do."""

import asyncio
import logging

from gateway.relay import Relay
from shared.database import accepted_jobs
from shared.database.engine import Database

LOOK_EVERY_S = 2.0

_log = logging.getLogger(__name__)


class LostReaders:
    """Asks PostgreSQL about the readers for whom Redis lacks what comes next; there are none as long as all is well."""

    def __init__(self, relay: Relay, database: Database) -> None:
        self._relay = relay
        self._database = database

    async def run(self) -> None:
        """Check until cancelled; as long as PostgreSQL is away, everybody waits."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.check()
            except Exception as error:  # noqa: BLE001  PostgreSQL away, or not migrated yet
                _log.warning("readers_unchecked", extra={"error": str(error)})

    async def check(self) -> None:
        """Tell readers `job_lost` whose job is not to be done any more.

        Raises:
            StoreUnavailableError: PostgreSQL is out of reach.

        """
        overdue = [reader for reader in self._relay.readers() if reader.is_durable and reader.is_overdue]
        if not overdue:
            return
        async with self._database.transaction() as connection:
            accepted = await accepted_jobs.ids_among(connection, [reader.job_id for reader in overdue])
        for reader in overdue:
            if reader.job_id not in accepted and reader.is_overdue and not reader.ended:
                reader.lose()
