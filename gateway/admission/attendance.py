"""Which jobs somebody still waits for, kept in Redis, so that a gateway's death is noticed like a client's.

Structure: `ds:attended`, a sorted set of job ids by when to cancel (ms). The admit script adds a job, the gateway that
relays it pushes the time on while its reader is there, and pulls it in when the reader leaves; any gateway cancels
what is due. Jobs that are to run whatever becomes of their reader are never in it.
"""

import asyncio
import contextlib
import logging

from redis.exceptions import RedisError

from gateway.admission.sweeper import Sweeper
from gateway.relay import Relay
from shared.job_queue import JobQueue

RENEW_EVERY_S = 5.0
RETRY_S = 0.2
LEASE_MS = 15_000  # a gateway is given up after this; then the grace of the job runs

_log = logging.getLogger(__name__)


class Attendance:
    """The readers of this process, as others see them."""

    def __init__(self, queue: JobQueue, relay: Relay, sweeper: Sweeper) -> None:
        self._queue = queue
        self._relay = relay
        self._sweeper = sweeper
        self._left: dict[str, int] = {}  # job id: grace in ms
        self._changed = asyncio.Event()

    def leave(self, job_id: str, *, grace_ms: int) -> None:
        """Say that a reader has left; the job is cancelled after the grace unless another one comes.

        Does not wait, because whoever leaves is being cancelled.
        """
        self._left[job_id] = grace_ms
        self._changed.set()

    async def run(self) -> None:
        """Tell Redis who reads and who has left, until cancelled; outages are waited out."""
        loop = asyncio.get_running_loop()
        renew_at_s = 0.0
        while True:
            self._changed.clear()
            try:
                await self._tell_departures()
                if loop.time() >= renew_at_s:
                    await self._queue.attend([reader.job_id for reader in self._relay.readers()], for_ms=LEASE_MS)
                    renew_at_s = loop.time() + RENEW_EVERY_S
            except RedisError as error:
                _log.warning("attendance_not_told", extra={"error": str(error)})
                await asyncio.sleep(RETRY_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(renew_at_s):
                    await self._changed.wait()

    async def _tell_departures(self) -> None:
        while self._left:
            job_id, grace_ms = next(iter(self._left.items()))
            await self._queue.attend([job_id], for_ms=grace_ms)
            del self._left[job_id]
            if grace_ms == 0:
                self._sweeper.hurry()
