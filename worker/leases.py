"""Keeps the leases of the jobs in hand, and learns which of them to stop."""

import asyncio
import logging

from redis.exceptions import RedisError

from shared.job_queue import JobQueue
from worker.job_in_hand import TAKEN
from worker.job_worker import JobWorker

HEARTBEAT_S = 0.5  # a third of the lease: two may be lost

_log = logging.getLogger(__name__)


async def keep_leases(worker: JobWorker, queue: JobQueue, worker_id: str) -> None:
    """Renew all leases in one script per heartbeat, until cancelled; outages of Redis are waited out."""
    while True:
        try:
            await _renew(worker, queue, worker_id)
        except RedisError as error:
            _log.warning("heartbeat_failed", extra={"error": str(error)})
        await asyncio.sleep(HEARTBEAT_S)


async def _renew(worker: JobWorker, queue: JobQueue, worker_id: str) -> None:
    jobs = worker.in_hand()
    answers = await queue.heartbeat(worker_id, [job.claim for job in jobs])
    for job, answer in zip(jobs, answers, strict=True):
        if answer == "taken":
            job.stop(TAKEN)
        elif answer == "missing":
            _log.error("job_missing_in_redis", extra={"job_id": job.claim.job.id})
            job.stop(TAKEN)
        elif answer.startswith("stop:"):
            job.stop(answer.removeprefix("stop:"))
