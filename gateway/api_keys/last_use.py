"""Writes down when API keys are used, off the path of the requests that use them."""

import asyncio
import logging

from shared.database import api_keys
from shared.database.engine import Database

WRITE_EVERY_S = 5.0
MOST_KEYS = 10_000  # of which it is noted at once that they are used; what is beyond is noted when they are used again

_log = logging.getLogger(__name__)


class LastUse:
    """The keys that were used since they were last written down."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: set[str] = set()

    def note(self, key_id: str) -> None:
        """Note that a key is being used."""
        if len(self._used) < MOST_KEYS:
            self._used.add(key_id)

    async def run(self) -> None:
        """Write until cancelled; what PostgreSQL does not take now is tried again."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write down what was noted."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            async with self._database.transaction() as connection:
                await api_keys.note_use(connection, used)
        except Exception as error:  # noqa: BLE001  a database not migrated yet must not stop the gateway
            _log.warning("key_uses_unwritten", extra={"keys": len(used), "error": str(error)})
            for key_id in used:
                self.note(key_id)
