"""Lists a user's jobs, newest first: those that wait or run from Redis, the others from PostgreSQL."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from redis.exceptions import RedisError

from gateway.admission.rate_limit import RETRY_WITHOUT_REDIS_S
from gateway.chat.schemas import JobPage, JobSummary
from gateway.paging import PageRequest
from gateway.principal import Principal
from shared.database import accepted_jobs, jobs
from shared.database.engine import Database
from shared.database.jobs import FinishedJob, created
from shared.errors import InvalidRequestError, StoreUnavailableError
from shared.job_queue import JobQueue, JobState
from shared.jobs import TERMINAL, JobStatus

STATUS_PATTERN = f"^({'|'.join(JobStatus)})$"

_AT_ONCE = 100  # looked at in Redis


class JobList:
    """Lists jobs for their owners."""

    def __init__(self, *, queue: JobQueue, database: Database) -> None:
        self._queue = queue
        self._database = database

    async def page(self, query: Mapping[str, str], principal: Principal) -> JobPage:
        """Return a page of somebody's jobs, as `status`, `limit` and `cursor` in a query ask for.

        Raises:
            InvalidRequestError: One of them has no such value.
            StoreUnavailableError: Redis or PostgreSQL is out of reach.

        """
        status, wanted = _status(query), PageRequest.of(query)
        before, limit = wanted.before, wanted.limit + 1
        try:
            found = await self._in_redis(principal, before=before, status=status, limit=limit)
            if status in (None, JobStatus.QUEUED):
                found |= await self._missing_in_redis(principal, before=before, limit=limit)
        except RedisError as error:
            raise StoreUnavailableError(
                "Jobs are out of reach just now.", retry_after_s=RETRY_WITHOUT_REDIS_S
            ) from error
        if status is None or status in TERMINAL:  # after Redis, so that what ends meanwhile is in one of the two
            async with self._database.transaction() as connection:
                ended = await jobs.list_of_user(
                    connection,
                    principal.user_id,
                    before=before,
                    status=status,
                    limit=limit,
                    api_key_id=principal.confined_to,
                )
            found |= {row.id: _of_row(row) for row in ended}
        return JobPage(*wanted.cut(sorted(found.values(), key=lambda job: job.id, reverse=True)))

    async def _in_redis(
        self, principal: Principal, *, before: str | None, status: JobStatus | None, limit: int
    ) -> dict[str, JobSummary]:
        ids = [id_ for id_ in await self._queue.jobs_of(principal.user_id) if before is None or id_ < before]
        found: dict[str, JobSummary] = {}
        while ids and len(found) < limit:
            some, ids = ids[:_AT_ONCE], ids[_AT_ONCE:]
            for id_, state in zip(some, await self._queue.look_at(some), strict=True):
                if state is None or status not in (None, state.status):
                    continue
                if principal.owns(user_id=state.user_id, api_key_id=state.api_key_id):
                    found[id_] = _of_state(id_, state)
        return found

    async def _missing_in_redis(self, principal: Principal, *, before: str | None, limit: int) -> dict[str, JobSummary]:
        """Return accepted jobs that are about to be in the queue (again)."""
        missing: dict[str, JobSummary] = {}
        while len(missing) < limit:
            async with self._database.transaction() as connection:
                accepted = await accepted_jobs.list_of_user(
                    connection, principal.user_id, before=before, limit=_AT_ONCE
                )
            if not accepted:
                break
            before = accepted[-1].id
            states = await self._queue.look_at([job.id for job in accepted])
            lacking = [job.id for job, state in zip(accepted, states, strict=True) if state is None]
            theirs = await self._theirs_among(lacking, principal)
            missing |= {
                job.id: JobSummary(
                    id=job.id,
                    status=JobStatus.QUEUED,
                    model=job.model,
                    created_at=created(job.id),
                    is_durable=True,
                )
                for job in accepted
                if job.id in theirs
            }
        return missing

    async def _theirs_among(self, job_ids: list[str], principal: Principal) -> set[str]:
        if principal.confined_to is None or not job_ids:
            return set(job_ids)
        async with self._database.transaction() as connection:
            accepted = [row.job for row in await accepted_jobs.find(connection, job_ids)]
        return {job.id for job in accepted if principal.owns(user_id=job.user_id, api_key_id=job.api_key_id)}


def _of_state(job_id: str, state: JobState) -> JobSummary:
    return JobSummary(
        id=job_id,
        status=state.status,
        model=state.model,
        created_at=created(job_id),
        started_at=_time(state.started_ms),
        finished_at=_time(state.ended_ms),
        is_durable=state.is_durable,
    )


def _of_row(row: FinishedJob) -> JobSummary:
    return JobSummary(
        id=row.id,
        status=row.status,
        model=row.model,
        created_at=row.created_at,
        started_at=row.created_at + timedelta(milliseconds=row.queue_ms) if row.attempts else None,
        finished_at=row.finished_at,
        is_durable=row.is_durable,
    )


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


def _status(query: Mapping[str, str]) -> JobStatus | None:
    text = query.get("status")
    if text is None:
        return None
    try:
        return JobStatus(text)
    except ValueError:
        raise InvalidRequestError(f"One of {', '.join(JobStatus)}.", param="status") from None
