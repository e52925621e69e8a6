"""Brings accepted jobs back into the queue that Redis lacks: it was emptied, or a gateway died before enqueueing them.

Every gateway looks once a second, one at a time. A job that a live worker holds is restored by that worker with its
next heartbeat, with what it has answered so far; so what is missing is looked for once more a little later.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from redis.asyncio import Redis

from shared import redis_keys
from shared.database import accepted_jobs
from shared.database.accepted_jobs import AcceptedJob
from shared.database.engine import Database
from shared.durable_queue import DurableQueue

LOOK_EVERY_S = 1.0
YOUNG_S = 1.0  # a job may take so long from its commit to the queue
WORKERS_FIRST_S = 1.2  # two heartbeats of a worker, and what they take
IDS_AT_ONCE = 1000
JOBS_AT_ONCE = 100  # with their prompts
FIRST_ID = "00000000-0000-0000-0000-000000000000"

_log = logging.getLogger(__name__)


class Restorer:
    """Looks for accepted jobs that Redis lacks.

    Args:
        redis: Where they should be.
        queue: Puts them there.
        database: Where they are.
        channel: Where this gateway listens: it relays what it restores.

    """

    def __init__(self, redis: Redis, queue: DurableQueue, database: Database, *, channel: str) -> None:
        self._redis = redis
        self._queue = queue
        self._database = database
        self._channel = channel

    async def run(self) -> None:
        """Restore until cancelled; outages are waited out."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.restore()
            except Exception as error:  # noqa: BLE001  Redis or PostgreSQL away, or not migrated yet
                _log.warning("jobs_unrestored", extra={"error": str(error)})

    async def restore(self, *, workers_first_s: float = WORKERS_FIRST_S) -> int:
        """Enqueue what is missing, and return how many jobs that were; 0 also when another gateway is at it.

        Raises:
            RedisError: Redis is out of reach.
            StoreUnavailableError: PostgreSQL is.

        """
        async with self._database.transaction() as connection:
            if not await accepted_jobs.try_to_lock(connection):
                return 0
            missing = await self._missing()
            if not missing:
                return 0
            await asyncio.sleep(workers_first_s)
            return await self._enqueue_by_id(await self._not_in_redis(missing))

    async def _missing(self) -> list[str]:
        missing: list[str] = []
        last_id = FIRST_ID
        while True:
            async with self._database.transaction() as connection:
                ids = await accepted_jobs.list_ids(connection, after=last_id, older_than_s=YOUNG_S, limit=IDS_AT_ONCE)
            missing += await self._not_in_redis(ids)
            if len(ids) < IDS_AT_ONCE:
                return missing
            last_id = ids[-1]

    async def _not_in_redis(self, job_ids: Sequence[str]) -> list[str]:
        """Return those that Redis lacks; one command tells when it has them all."""
        if not job_ids or await self._redis.exists(*(redis_keys.JOB + id_ for id_ in job_ids)) == len(job_ids):
            return []
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.exists(redis_keys.JOB + job_id)
        return [id_ for id_, is_there in zip(job_ids, await pipeline.execute(), strict=True) if not is_there]

    async def enqueue(self, jobs: Iterable[AcceptedJob]) -> int:
        """Put jobs into the queue that are not in Redis, and return how many that were.

        Raises:
            RedisError: Redis is out of reach.

        """
        places = [
            await self._queue.enqueue(
                accepted.job,
                channel=self._channel,
                queue_timeout_ms=accepted.queue_timeout_ms,
                idempotency=accepted.idempotency,
                is_again=True,
            )
            for accepted in jobs
        ]
        return sum(place is not None for place in places)

    async def _enqueue_by_id(self, job_ids: Sequence[str]) -> int:
        restored = 0
        for first in range(0, len(job_ids), JOBS_AT_ONCE):
            async with self._database.transaction() as connection:
                found = await accepted_jobs.find(connection, job_ids[first : first + JOBS_AT_ONCE])
            restored += await self.enqueue(found)  # those that are not found have ended meanwhile
        if restored:
            _log.warning("jobs_restored", extra={"jobs": restored})
        return restored
