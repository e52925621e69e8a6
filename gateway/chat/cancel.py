"""Stops a job, from whichever gateway the request reaches."""

from redis.exceptions import RedisError

from gateway.admission.rate_limit import RETRY_WITHOUT_REDIS_S
from gateway.durability.restorer import Restorer
from shared import ids
from shared.database import accepted_jobs, jobs
from shared.database.engine import Database
from shared.errors import JobCancelledError, NotFoundError, StoreUnavailableError
from shared.job_queue import JobQueue, Stopped
from shared.jobs import JobStatus


class Canceller:
    """Cancels jobs on behalf of their owners.

    Args:
        queue: Where they wait and run.
        database: Where those are that Redis lacks.
        restorer: Brings such a job back.

    """

    def __init__(self, queue: JobQueue, database: Database, restorer: Restorer) -> None:
        self._queue = queue
        self._database = database
        self._restorer = restorer

    async def cancel(self, job_id: str, *, user_id: str) -> Stopped:
        """Stop a job that waits or runs.

        Returns:
            What has become of it.

        Raises:
            NotFoundError: There is no such job, or it is somebody else's.
            StoreUnavailableError: Redis is out of reach, or PostgreSQL when it has to be asked.

        """
        if not ids.is_id(job_id):
            raise _missing()
        try:
            return await self._stop(job_id, user_id) or await self._stop_forgotten(job_id, user_id)
        except RedisError as error:
            raise StoreUnavailableError(
                "Jobs are out of reach just now.", retry_after_s=RETRY_WITHOUT_REDIS_S
            ) from error

    async def _stop(self, job_id: str, user_id: str) -> Stopped | None:
        return await self._queue.stop(
            job_id,
            error=JobCancelledError("The job was cancelled."),
            status=JobStatus.CANCELLED,
            user_id=user_id,
        )

    async def _stop_forgotten(self, job_id: str, user_id: str) -> Stopped:
        """Stop a job that is not in Redis, or is somebody else's."""
        async with self._database.transaction() as connection:
            ended = await jobs.find(connection, job_id)
            accepted = await accepted_jobs.find(connection, [job_id])
        if ended and ended.user_id == user_id:
            return Stopped(model=ended.model, status=ended.status)
        if accepted and accepted[0].job.user_id == user_id:
            await self._restorer.enqueue(accepted)  # stopping goes by way of the queue alone
            return await self._stop(job_id, user_id) or Stopped(model=accepted[0].job.model, status="stopping")
        raise _missing()


def _missing() -> NotFoundError:
    return NotFoundError("There is no such job.", param="id")
