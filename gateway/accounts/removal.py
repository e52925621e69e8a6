"""Removes users with everything that is theirs."""

import logging

from redis.exceptions import RedisError

from shared import audit
from shared.audit import SecurityEvent
from shared.database import api_keys, jobs, users
from shared.database.engine import Database
from shared.erasure import Erasure
from shared.errors import JobCancelledError, StoreUnavailableError
from shared.job_queue import JobQueue
from shared.jobs import JobStatus
from shared.revocations import Revocations, everything_of

MOST_ERASED = 100_000  # of the latest jobs; what is older has long expired

_log = logging.getLogger(__name__)


class Removal:
    """Takes users out of PostgreSQL, and then whatever of theirs is under way out of Redis.

    Args:
        database: Whatever refers to a user there goes with them.
        queue: Where their jobs wait and run.
        erasure: Erases what is left of them there.
        revocations: Tells all gateways that nothing of theirs is let in any more.

    """

    def __init__(self, *, database: Database, queue: JobQueue, erasure: Erasure, revocations: Revocations) -> None:
        self._database = database
        self._queue = queue
        self._erasure = erasure
        self._revocations = revocations

    async def remove(self, user_id: str) -> None:
        """Remove a user: their row, sessions, keys and all else at once, jobs as soon as they can be stopped.

        Their open streams end within seconds. What Redis has of jobs that have ended, answers included, goes at once;
        of those that are stopped, some seconds after their end. Without Redis jobs run to an end that nobody sees, and
        what is there expires as it always does.

        Raises:
            StoreUnavailableError: PostgreSQL is out of reach, and nothing was removed.

        """
        async with self._database.transaction() as connection:
            ended = await jobs.latest_of_user(connection, user_id, limit=MOST_ERASED)
            key_ids = await api_keys.ids_of_user(connection, user_id)
            await users.remove(connection, user_id)
        audit.record(SecurityEvent.USER_DELETED, user_id=user_id)
        try:
            await self._revocations.revoke(everything_of(user_id))
            await self._clear_redis(user_id, ended, key_ids)
        except (RedisError, StoreUnavailableError) as error:
            _log.warning("jobs_of_removed_user_go_on", extra={"user_id": user_id, "error": str(error)})

    async def _clear_redis(self, user_id: str, ended: list[str], key_ids: list[str]) -> None:
        listed = await self._queue.jobs_of(user_id)
        await self._erasure.erase_jobs([*listed, *ended])
        for job_id in listed:
            await self._queue.stop(
                job_id,
                error=JobCancelledError("The account of the job's owner was deleted."),
                status=JobStatus.CANCELLED,
                user_id=user_id,
            )
        await self._erasure.forget_owner(user_id, key_ids)
