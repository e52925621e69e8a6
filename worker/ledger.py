"""Writes one row of metadata and usage for every job that ended here, in batches, off the path of the tokens."""

import asyncio
import logging
from collections import deque
from datetime import timedelta
from itertools import islice

from shared.database.engine import Database
from shared.database.jobs import FinishedJob, created, record_metadata
from worker.job_in_hand import JobInHand

WRITE_EVERY_S = 1.0
BATCH_ROWS = 1000
MOST_ROWS = 100_000  # kept while PostgreSQL is away; about 50 MB, then the oldest go, which is logged

_log = logging.getLogger(__name__)


class Ledger:
    """The rows that have not been written yet."""

    def __init__(self, database: Database, *, worker_name: str) -> None:
        self._database = database
        self._worker_name = worker_name
        self._rows: deque[FinishedJob] = deque(maxlen=MOST_ROWS)
        self._writing = asyncio.Lock()  # who drains writes too, and must not take the rows from under the other

    def enter(self, job: JobInHand) -> None:
        """Note a job that has ended."""
        if job.outcome is None:
            return
        if len(self._rows) == MOST_ROWS:
            _log.error("job_row_dropped", extra={"job_id": self._rows[0].id})
        claim, used = job.claim, job.used(job.outcome)
        created_at = created(claim.job.id)
        total_ms = claim.queue_ms + job.ran_ms()
        self._rows.append(
            FinishedJob(
                id=claim.job.id,
                user_id=claim.job.user_id,
                kind=claim.job.kind,
                model=claim.job.model,
                status=job.outcome,
                error_code=job.error_code,
                prompt_tokens=used.prompt_tokens,
                completion_tokens=used.completion_tokens,
                queue_ms=claim.queue_ms,
                first_token_ms=job.first_token_ms,
                total_ms=total_ms,
                attempts=claim.failures + 1,
                worker=self._worker_name,
                request_id=claim.job.request_id,
                created_at=created_at,
                finished_at=created_at + timedelta(milliseconds=total_ms),
                epoch=claim.epoch,
                is_durable=claim.job.is_durable,
                api_key_id=claim.job.api_key_id,
            )
        )

    async def run(self) -> None:
        """Write until cancelled; what PostgreSQL does not take now is tried again."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write what there is, as far as PostgreSQL takes it."""
        async with self._writing:
            while self._rows:
                batch = list(islice(self._rows, BATCH_ROWS))
                try:
                    async with self._database.transaction() as connection:
                        await record_metadata(connection, batch)
                except Exception as error:  # noqa: BLE001  a database not migrated yet must not stop the jobs
                    _log.warning("job_rows_unwritten", extra={"rows": len(self._rows), "error": str(error)})
                    return
                for _ in batch:
                    self._rows.popleft()
