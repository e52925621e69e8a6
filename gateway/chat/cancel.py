"""Stops a job, from whichever gateway the request reaches."""

from redis.exceptions import RedisError

from gateway.admission.rate_limit import RETRY_WITHOUT_REDIS_S
from shared import ids
from shared.errors import JobCancelledError, NotFoundError, StoreUnavailableError
from shared.job_queue import JobQueue, Stopped
from shared.jobs import JobStatus


class Canceller:
    """Cancels jobs on behalf of their owners."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    async def cancel(self, job_id: str, *, user_id: str) -> Stopped:
        """Stop a job that waits or runs.

        Returns:
            What has become of it.

        Raises:
            NotFoundError: There is no such job, or it is somebody else's.
            StoreUnavailableError: Redis is out of reach.

        """
        if not ids.is_id(job_id):
            raise _missing()
        try:
            outcome = await self._queue.stop(
                job_id,
                error=JobCancelledError("The job was cancelled."),
                status=JobStatus.CANCELLED,
                user_id=user_id,
            )
        except RedisError as error:
            raise StoreUnavailableError(
                "Jobs are out of reach just now.", retry_after_s=RETRY_WITHOUT_REDIS_S
            ) from error
        if outcome is None:
            raise _missing()
        return outcome


def _missing() -> NotFoundError:
    return NotFoundError("There is no such job.", param="id")
