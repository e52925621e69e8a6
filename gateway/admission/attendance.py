"""Which jobs somebody still waits for, kept in Redis, so that a gateway's death is noticed like a client's.

Structures: `ds:readers:<id>`, a sorted set of the gateways that have readers of a job, by the end of their leases (ms);
and `ds:attended`, a sorted set of job ids by when to cancel (ms): the last lease's end, and the job's grace. The admit
script adds both, a gateway renews its leases while it has readers and gives them up when the last one leaves, and any
gateway cancels what is due. Jobs that are to run whatever becomes of their readers are in neither.
"""

import asyncio
import contextlib
import logging

from redis.exceptions import RedisError

from gateway.admission.sweeper import Sweeper
from gateway.relay import Relay
from shared.job_queue import JobQueue

RENEW_EVERY_S = 1.5
RETRY_S = 0.2
LEASE_MS = 5_000  # a gateway is given up after this; then the grace of the job runs

_log = logging.getLogger(__name__)


class Attendance:
    """The readers of this process, as others see them."""

    def __init__(self, queue: JobQueue, relay: Relay, sweeper: Sweeper) -> None:
        self._queue = queue
        self._relay = relay
        self._sweeper = sweeper
        self._left: dict[str, int] = {}  # job id: grace in ms
        self._changed = asyncio.Event()

    async def enter(self, job_id: str, *, grace_ms: int) -> None:
        """Say that a reader has come; from then on its leaving, or our death, is what counts.

        Raises:
            RedisError: Redis is out of reach.

        """
        self._left.pop(job_id, None)
        await self._tell([job_id], for_ms=LEASE_MS, grace_ms=grace_ms)

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
                    await self._renew()
                    renew_at_s = loop.time() + RENEW_EVERY_S
            except RedisError as error:
                _log.warning("attendance_not_told", extra={"error": str(error)})
                await asyncio.sleep(RETRY_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(renew_at_s):
                    await self._changed.wait()

    async def _renew(self) -> None:
        by_grace: dict[int, set[str]] = {}
        for reader in self._relay.readers():
            by_grace.setdefault(reader.grace_ms, set()).add(reader.job_id)
        for grace_ms, job_ids in by_grace.items():
            await self._tell(list(job_ids), for_ms=LEASE_MS, grace_ms=grace_ms)

    async def _tell_departures(self) -> None:
        while self._left:
            job_id, grace_ms = next(iter(self._left.items()))
            if not self._relay.is_read(job_id):  # by somebody else here
                await self._tell([job_id], for_ms=0, grace_ms=grace_ms)
            if self._left.pop(job_id, None) is None:  # somebody came meanwhile, and we may have said so before this
                await self._tell([job_id], for_ms=LEASE_MS, grace_ms=grace_ms)
            elif grace_ms == 0:
                self._sweeper.hurry()

    async def _tell(self, job_ids: list[str], *, for_ms: int, grace_ms: int) -> None:
        await self._queue.attend(job_ids, gateway=self._relay.channel, for_ms=for_ms, grace_ms=grace_ms)
