"""Which jobs somebody still waits for, kept in Redis, so that a gateway's death is noticed like a client's.

Structure: `ds:attended`, a sorted set of job ids by when to cancel (ms). The admit script adds a job, the gateway that
relays it pushes the time on while its reader is there, and pulls it in when the reader leaves; any gateway cancels
what is due. Jobs that are to run whatever becomes of their reader are never in it.
"""

import asyncio
import logging

from redis.exceptions import RedisError

from gateway.relay import Relay
from shared.job_queue import JobQueue

RENEW_EVERY_S = 5.0
LEASE_MS = 15_000  # a gateway is given up after this; then the grace of the job runs

_log = logging.getLogger(__name__)


class Attendance:
    """The readers of this process, as others see them."""

    def __init__(self, queue: JobQueue, relay: Relay) -> None:
        self._queue = queue
        self._relay = relay

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                await self._queue.attend([reader.job_id for reader in self._relay.readers()], for_ms=LEASE_MS)
            except RedisError as error:
                _log.warning("attendance_not_renewed", extra={"error": str(error)})

    async def leave(self, job_id: str, *, grace_ms: int) -> None:
        """Say that a reader has left; the job is cancelled after the grace unless another one comes."""
        try:
            await self._queue.attend([job_id], for_ms=grace_ms)
        except RedisError as error:
            _log.warning("leave_not_told", extra={"error": str(error), "job_id": job_id})
