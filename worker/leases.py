"""Keeps the leases of the jobs in hand, and learns which of them to stop."""

import asyncio
import logging
from collections.abc import Callable

from shared.job_queue import JobQueue
from worker.job_in_hand import TAKEN, JobInHand

HEARTBEAT_S = 0.5  # a third of the lease: two may be lost

_log = logging.getLogger(__name__)


class Leases:
    """The leases of one worker, and its own place among the living.

    Whoever claims renews first, in the same task: a worker that was frozen must hear which jobs it has lost before it
    takes new ones.

    Args:
        queue: Where the jobs were claimed.
        worker_id: Whose they are.
        on_forgotten: Called when Redis does not know this worker (any more): what it offers is to be announced.

    """

    def __init__(self, queue: JobQueue, worker_id: str, *, on_forgotten: Callable[[], None]) -> None:
        self._queue = queue
        self._worker_id = worker_id
        self._due_at_s = 0.0
        self._on_forgotten = on_forgotten

    async def renew_if_due(self, jobs: list[JobInHand]) -> None:
        """Renew all leases in one script, twice a second at most.

        Raises:
            RedisError: Redis is out of reach; the next call tries again.

        """
        loop = asyncio.get_running_loop()
        asked_at_s = loop.time()
        if asked_at_s < self._due_at_s:
            return
        heard = await self._queue.heartbeat(self._worker_id, [(job.claim, job.log.stored_entries) for job in jobs])
        self._due_at_s = asked_at_s + HEARTBEAT_S
        if heard.was_forgotten:
            self._on_forgotten()
        for job, answer in zip(jobs, heard.answers, strict=True):
            if answer == "taken":
                job.stop(TAKEN)
            elif answer == "missing":
                _log.warning("job_missing_in_redis", extra={"job_id": job.claim.job.id})
                job.log.restore()
            elif answer.startswith("stop:"):
                job.stop(answer.removeprefix("stop:"))
