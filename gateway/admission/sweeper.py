"""Ends jobs that nobody waits for any longer: those past their deadline, and those whose readers are gone.

Every gateway does it; ending a job twice changes nothing, so they need not agree on who.
"""

import asyncio
import contextlib
import logging

from redis.exceptions import RedisError

from shared.errors import JobCancelledError, JobError, JobExpiredError
from shared.job_queue import JobQueue
from shared.jobs import JobStatus

SWEEP_EVERY_S = 0.5

_log = logging.getLogger(__name__)


class Sweeper:
    """Looks for jobs to end twice a second."""

    def __init__(self, queue: JobQueue, *, retention_ms: int) -> None:
        self._queue = queue
        self._retention_ms = retention_ms
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Sweep now: something has just become due."""
        self._hurry.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            self._hurry.clear()
            try:
                await self.sweep()
            except RedisError as error:
                _log.warning("sweep_failed", extra={"error": str(error)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_EVERY_S):
                    await self._hurry.wait()

    async def sweep(self) -> None:
        """End what is due now."""
        for job_id in await self._queue.overdue():
            await self._end(job_id, JobExpiredError("The job's deadline has passed."), JobStatus.EXPIRED)
        for job_id in await self._queue.unattended():
            await self._end(job_id, JobCancelledError("Its reader has gone."), JobStatus.CANCELLED)

    async def _end(self, job_id: str, error: JobError, status: JobStatus) -> None:
        outcome = await self._queue.stop(job_id, error=error, status=status, retention_ms=self._retention_ms)
        _log.info("job_swept", extra={"job_id": job_id, "code": error.code, "status": outcome and outcome.status})
