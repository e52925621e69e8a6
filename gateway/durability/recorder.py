"""Stores how jobs ended, and then has the end of durable ones told to whoever reads them.

Every gateway does it; a lease on each end keeps them from doing it all at once, and storing or telling it twice changes
nothing. While PostgreSQL is away the ends stay in Redis (shared/ended_jobs.py), and readers wait under heartbeats.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.database import turns
from shared.database.engine import Database
from shared.database.jobs import FinishedJob
from shared.ended_jobs import EndedJobs
from shared.erasure import Erasure
from shared.errors import StoreUnavailableError
from shared.events import TERMINAL_KINDS, Event
from shared.jobs import JobEnd
from shared.token_log import read_after

LOOK_EVERY_S = 1.0  # a safety net: a publication says when there is something
BATCH = 16  # with their answers, which may be MAX_ANSWER_BYTES each

_log = logging.getLogger(__name__)


class Recorder:
    """Brings ends of jobs to PostgreSQL.

    Args:
        redis: Where the logs are.
        ended_jobs: What is to be stored.
        database: Where.
        count: Is shown each durable job that has ended, once.

    """

    def __init__(
        self, redis: Redis, ended_jobs: EndedJobs, database: Database, *, count: Callable[[FinishedJob], None]
    ) -> None:
        self._redis = redis
        self._ended_jobs = ended_jobs
        self._erasure = Erasure(redis)
        self._database = database
        self._count = count
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Look now: a job has ended."""
        self._hurry.set()

    async def run(self) -> None:
        """Record until cancelled; outages are waited out."""
        while True:
            self._hurry.clear()
            try:
                while await self.record() == BATCH:
                    pass
            except RedisError as error:
                _log.warning("ends_unread", extra={"error": str(error)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._hurry.wait()

    async def record(self) -> int:
        """Store a batch of ends and tell of them; returns how many were stored.

        Raises:
            RedisError: Redis is out of reach.

        """
        ends = await self._ended_jobs.take(BATCH)
        try:
            rows = await self._store(ends)
        except StoreUnavailableError as error:
            await self._ended_jobs.give_back(list(ends))
            _log.warning("ends_unstored", extra={"jobs": len(ends), "error": error.message})
            return 0
        except RedisError:
            raise
        except Exception:  # noqa: BLE001  a database not migrated yet, or one end that it refuses
            return await self._record_singly(ends)
        for row in rows:
            await self._tell(row, ends[row.id])
        return len(ends)

    async def _record_singly(self, ends: dict[str, JobEnd]) -> int:
        """Do what `record` does with what can be stored; the others are tried again when their leases have ended."""
        stored = 0
        for job_id, end in ends.items():
            try:
                (row,) = await self._store({job_id: end})
            except RedisError:
                raise
            except Exception as error:  # noqa: BLE001
                _log.warning("end_unstored", extra={"job_id": job_id, "error": str(error)})
            else:
                await self._tell(row, end)
                stored += 1
        return stored

    async def _tell(self, row: FinishedJob, end: JobEnd) -> None:
        if await self._ended_jobs.publish(row.id, end):
            self._count(row)

    async def _store(self, ends: dict[str, JobEnd]) -> list[FinishedJob]:
        """Commit ends with what was answered, also as replies in conversations, and return that.

        Raises:
            StoreUnavailableError: PostgreSQL is out of reach; nothing is stored.

        """
        if not ends:
            return []
        rows = [FinishedJob.of(job_id, end, await self._answered(job_id, end)) for job_id, end in ends.items()]
        async with self._database.transaction() as connection:
            unwanted = await turns.end(connection, rows)
        await self._erasure.erase_jobs(list(unwanted))
        return rows

    async def _answered(self, job_id: str, end: JobEnd) -> list[Event]:
        """Return what is in a durable job's log, but for its end, which may be there already."""
        if not end.is_durable:
            return []
        batches = await read_after(self._redis, job_id)
        return [event for batch in batches for event in batch.split() if event.kind not in TERMINAL_KINDS]
