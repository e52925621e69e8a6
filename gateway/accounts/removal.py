"""Removes users with everything that is theirs."""

import logging

from redis.exceptions import RedisError

from shared import audit
from shared.audit import SecurityEvent
from shared.database import users
from shared.database.engine import Database
from shared.errors import JobCancelledError, StoreUnavailableError
from shared.job_queue import JobQueue
from shared.jobs import JobStatus
from shared.revocations import Revocations, everything_of

_log = logging.getLogger(__name__)


class Removal:
    """Takes users out of PostgreSQL, and then whatever of theirs is under way out of Redis.

    Args:
        database: Whatever refers to a user there goes with them.
        queue: Where their jobs wait and run.
        revocations: Tells all gateways that nothing of theirs is let in any more.

    """

    def __init__(self, *, database: Database, queue: JobQueue, revocations: Revocations) -> None:
        self._database = database
        self._queue = queue
        self._revocations = revocations

    async def remove(self, user_id: str) -> None:
        """Remove a user: their row, sessions, keys and all else at once, their jobs as soon as they can be stopped.

        Their open streams end within seconds, and what Redis still has of their ended jobs expires as it always does.
        Without Redis their jobs run to an end that nobody sees.

        Raises:
            StoreUnavailableError: PostgreSQL is out of reach, and nothing was removed.

        """
        async with self._database.transaction() as connection:
            await users.remove(connection, user_id)
        audit.record(SecurityEvent.USER_DELETED, user_id=user_id)
        try:
            await self._revocations.revoke(everything_of(user_id))
            await self._stop_jobs(user_id)
        except (RedisError, StoreUnavailableError) as error:
            _log.warning("jobs_of_removed_user_go_on", extra={"user_id": user_id, "error": str(error)})

    async def _stop_jobs(self, user_id: str) -> None:
        for job_id in await self._queue.jobs_of(user_id):
            await self._queue.stop(
                job_id,
                error=JobCancelledError("The account of the job's owner was deleted."),
                status=JobStatus.CANCELLED,
                user_id=user_id,
            )
