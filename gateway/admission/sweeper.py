"""Ends jobs that nobody waits for any longer: those past their deadline, and those whose readers are gone.

Every gateway does it; ending a job twice changes nothing, so they need not agree on who.
"""

import asyncio
import contextlib
import logging

from redis.exceptions import RedisError

from shared.errors import JobCancelledError, JobError, JobExpiredError
from shared.job_queue import JobQueue, Stopped
from shared.jobs import JobStatus

SWEEP_EVERY_S = 0.5
READERS_RETURN_S = 3.0  # after an outage of Redis, in which no gateway could say that its readers are still there

_log = logging.getLogger(__name__)


class Sweeper:
    """Looks for jobs to end twice a second."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._hurry = asyncio.Event()
        self._spares_unattended_until_s = 0.0

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
                self._spares_unattended_until_s = asyncio.get_running_loop().time() + READERS_RETURN_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_EVERY_S):
                    await self._hurry.wait()

    async def sweep(self) -> None:
        """End what is due now."""
        for job_id in await self._queue.overdue():
            error, status = JobExpiredError("The job's deadline has passed."), JobStatus.EXPIRED
            if await self._queue.stop_code(job_id) == JobCancelledError.code:  # its worker has not done so
                error, status = JobCancelledError("The job was cancelled."), JobStatus.CANCELLED
            _swept(job_id, error, await self._queue.stop(job_id, error=error, status=status))
        if asyncio.get_running_loop().time() < self._spares_unattended_until_s:
            return
        for job_id in await self._queue.unattended():
            error = JobCancelledError("Its reader has gone.")
            stopped = await self._queue.stop(job_id, error=error, status=JobStatus.CANCELLED, only_if_unattended=True)
            _swept(job_id, error, stopped)


def _swept(job_id: str, error: JobError, stopped: Stopped | None) -> None:
    _log.info("job_swept", extra={"job_id": job_id, "code": error.code, "status": stopped and stopped.status})
