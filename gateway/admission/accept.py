"""The gate for durable jobs: a place is reserved, the job stored in PostgreSQL, and then enqueued.

With the job of a conversation what the client says is stored too: both are there, or neither.

Once it is stored it is accepted: whatever fails after that, a gateway enqueues it (gateway/durability/restorer.py).
"""

import contextlib
import logging
from contextlib import AsyncExitStack

from redis.exceptions import RedisError

from gateway.admission.admit import Admission, to_admission, when_stored
from gateway.admission.rate_limit import RETRY_WITHOUT_REDIS_S
from gateway.admission.settings import QueueSettings
from shared.database import accepted_jobs, turns
from shared.database.engine import Database
from shared.database.turns import Turn
from shared.demand import Demand
from shared.durable_queue import DurableQueue
from shared.errors import StoreUnavailableError, UnauthenticatedError
from shared.idempotency import Idempotency
from shared.jobs import Job

_log = logging.getLogger(__name__)


class DurableGate:
    """Accepts jobs that outlive Redis."""

    def __init__(self, queue: DurableQueue, database: Database, settings: QueueSettings) -> None:
        self._queue = queue
        self._database = database
        self._settings = settings

    async def accept(
        self,
        job: Job,
        *,
        demand: Demand,
        channel: str,
        slots: int,
        queue_timeout_ms: int,
        idempotency: Idempotency | None,
        turn: Turn | None = None,
    ) -> Admission:
        """Accept a job, unless its idempotency key stands for one already, or refuse it and change nothing.

        Takes what `Gate.admit` takes, and the turn of a conversation that the job is to answer.

        Raises:
            DeeperSensorError: What `Gate.admit` raises besides.
            NotFoundError: The conversation is gone.
            ConversationFullError: It is as long as one may be.
            ConversationBusyError: A job has yet to answer in it, or more was said in it meanwhile.
            UnauthenticatedError: The user is gone.
            StoreUnavailableError: Redis or PostgreSQL is out of reach, or the job that the key stands for is long in
                being stored. If PostgreSQL went away in the very moment of the commit, the job may be stored, and
                run, all the same.

        """
        try:
            verdict = await when_stored(
                lambda: self._queue.reserve(
                    job, demand=demand, max_depth=self._settings.queue_max_depth, idempotency=idempotency
                )
            )
        except RedisError as error:
            raise StoreUnavailableError(
                "The queue is out of reach just now.", retry_after_s=RETRY_WITHOUT_REDIS_S
            ) from error
        admission = to_admission(job.id, verdict, demand=demand, slots=slots)
        if admission.place is None:
            return admission
        await self._store(job, demand=demand, queue_timeout_ms=queue_timeout_ms, idempotency=idempotency, turn=turn)
        try:
            place = await self._queue.enqueue(
                job, channel=channel, queue_timeout_ms=queue_timeout_ms, idempotency=idempotency, demand=demand
            )
        except RedisError as error:
            _log.warning("accepted_job_not_enqueued", extra={"job_id": job.id, "error": str(error)})
            return admission
        return Admission(job.id, place or admission.place, admission.limits)

    async def _store(
        self,
        job: Job,
        *,
        demand: Demand,
        queue_timeout_ms: int,
        idempotency: Idempotency | None,
        turn: Turn | None,
    ) -> None:
        """Commit a job, or give up what was reserved for it."""
        async with AsyncExitStack() as unless_stored:
            unless_stored.push_async_callback(self._abandon, job, demand, idempotency)
            async with self._database.transaction() as connection:
                if turn is not None:
                    await turns.begin(connection, turn)
                has_user = await accepted_jobs.accept(
                    connection, job, queue_timeout_ms=queue_timeout_ms, idempotency=idempotency
                )
            if not has_user:
                raise UnauthenticatedError("The token is not valid any more.")
            unless_stored.pop_all()

    async def _abandon(self, job: Job, demand: Demand, idempotency: Idempotency | None) -> None:
        with contextlib.suppress(RedisError):  # then the hold ends by itself
            await self._queue.abandon(job, demand=demand, idempotency=idempotency)
