"""The gate of the queue: limits and bounds are checked and the job is enqueued in one round trip."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

from msgspec import Struct
from redis.exceptions import RedisError

from gateway.admission.concurrency import crowded
from gateway.admission.rate_limit import RETRY_WITHOUT_REDIS_S, LimitState, refusal, to_states
from gateway.admission.settings import QueueSettings
from shared.demand import Demand
from shared.errors import IdempotencyMismatchError, QueueFullError, StoreUnavailableError
from shared.idempotency import Idempotency
from shared.job_queue import JobQueue
from shared.jobs import Job
from shared.verdicts import (
    Admitted,
    Attached,
    BeingStored,
    ConcurrencyReached,
    KeyMismatched,
    LimitReached,
    Place,
    QueueFull,
    Verdict,
)

RETRY_WHILE_STORED_S = 1.0
ASK_WHILE_STORED_EVERY_S = 0.05
ASK_WHILE_STORED_AGAIN = 40  # 2 s in all; a PostgreSQL that takes longer is in trouble
UNMEASURED_SERVICE_MS = 10_000  # what a job is taken to need as long as none of its model has ended
_ANY_DEPTH = 1 << 31

_log = logging.getLogger(__name__)


class Admission(Struct, frozen=True):
    """How a request was let in."""

    job_id: str
    place: Place | None  # in the queue; None: the request's idempotency key stands for a job that was there already
    limits: tuple[LimitState, ...]  # as they are now


class Gate:
    """Admits jobs of all surfaces.

    Args:
        queue: Where admitted jobs wait.
        settings: The queue's bounds.
        retention_ms: How long a job's log outlives it, at least.

    """

    def __init__(self, queue: JobQueue, settings: QueueSettings, *, retention_ms: int) -> None:
        self._queue = queue
        self._settings = settings
        self._retention_ms = retention_ms

    async def admit(
        self,
        job: Job,
        *,
        demand: Demand,
        channel: str,
        slots: int,
        queue_timeout_ms: int,
        unattended_ms: int,
        grace_ms: int,
        idempotency: Idempotency | None,
    ) -> Admission:
        """Enqueue a job, unless its idempotency key stands for one already, or refuse it and change nothing.

        Args:
            job: What is to be done.
            demand: The limits that the request has to pass.
            channel: Where this gateway listens.
            slots: Jobs of the model that can run at once, over all workers.
            queue_timeout_ms: See `JobQueue.admit`.
            unattended_ms: See `JobQueue.admit`.
            grace_ms: See `JobQueue.admit`.
            idempotency: What the request is known by; None: nothing.

        Raises:
            RateLimitedError: A rate limit is used up.
            ConcurrencyLimitedError: There are as many jobs or streams as there may be.
            IdempotencyMismatchError: The key stands for the job of another request.
            QueueFullError: As many jobs wait for the model as may.
            StoreUnavailableError: Redis is out of reach, or full, or the job that the key stands for is long in being
                stored.

        """
        try:
            verdict = await when_stored(
                lambda: self._queue.admit(
                    job,
                    channel=channel,
                    demand=demand,
                    max_depth=self._settings.queue_max_depth,
                    queue_timeout_ms=queue_timeout_ms,
                    unattended_ms=unattended_ms,
                    grace_ms=grace_ms,
                    retention_ms=self._retention_ms,
                    idempotency=idempotency,
                )
            )
        except RedisError as error:
            raise StoreUnavailableError(
                "The queue is out of reach just now.", retry_after_s=RETRY_WITHOUT_REDIS_S
            ) from error
        return to_admission(job.id, verdict, demand=demand, slots=slots)

    async def resubmit(
        self,
        job: Job,
        *,
        demand: Demand,
        channel: str,
        queue_timeout_ms: int,
        unattended_ms: int,
        grace_ms: int,
        idempotency: Idempotency | None,
        admitted_at_s: float,
    ) -> None:
        """Enqueue an admitted job again, unless Redis has it after all; it spends nothing more, and is never refused.

        Redis has lost with it what was reserved, so it pays for all of its tokens when it ends.

        Args:
            job: As it was admitted, and so for the others of the same name.
            demand: See `admit`.
            channel: See `admit`.
            queue_timeout_ms: See `admit`.
            unattended_ms: See `admit`.
            grace_ms: See `admit`.
            idempotency: See `admit`.
            admitted_at_s: When that was, by the loop's clock.

        Raises:
            RedisError: Redis is out of reach.

        """
        waited_s = asyncio.get_running_loop().time() - admitted_at_s
        verdict = await self._queue.admit(
            job,
            channel=channel,
            demand=demand,
            max_depth=_ANY_DEPTH,
            queue_timeout_ms=queue_timeout_ms,
            unattended_ms=unattended_ms,
            grace_ms=grace_ms,
            retention_ms=self._retention_ms,
            idempotency=idempotency,
            waited_ms=round(waited_s * 1000),
        )
        if isinstance(verdict, Admitted):
            _log.warning("job_resubmitted", extra={"job_id": job.id})


async def when_stored(ask: Callable[[], Awaitable[Verdict]]) -> Verdict:
    """Return a verdict; while the job of the request's key is being stored it is asked for again, within bounds."""
    for _ in range(ASK_WHILE_STORED_AGAIN):
        if not isinstance(verdict := await ask(), BeingStored):
            return verdict
        await asyncio.sleep(ASK_WHILE_STORED_EVERY_S)
    return await ask()


def to_admission(job_id: str, verdict: Verdict, *, demand: Demand, slots: int) -> Admission:
    """Return what a verdict on a request for a new job lets in.

    Raises:
        RateLimitedError: A rate limit is used up.
        ConcurrencyLimitedError: There are as many jobs or streams as there may be.
        IdempotencyMismatchError: The key stands for the job of another request.
        QueueFullError: As many jobs wait for the model as may.
        StoreUnavailableError: The job that the key stands for is being stored just now.

    """
    rates = (*demand.requests, *demand.tokens)
    match verdict:
        case Admitted():
            return Admission(job_id, verdict.place, to_states(rates, verdict.limits))
        case Attached():
            return Admission(verdict.job_id, None, to_states(demand.requests, verdict.limits))
        case LimitReached():
            states = to_states(rates[: len(verdict.limits)], verdict.limits)
            raise refusal(states, index=verdict.index, retry_after_us=verdict.retry_after_us)
        case ConcurrencyReached():
            reached = (*demand.jobs, *demand.streams)[verdict.index - 1]
            raise crowded(reached, service_ms=verdict.service_ms or UNMEASURED_SERVICE_MS)
        case KeyMismatched():
            raise IdempotencyMismatchError("This key was sent with another request.", param="Idempotency-Key")
        case BeingStored():
            raise StoreUnavailableError("The job of this key is being stored.", retry_after_s=RETRY_WHILE_STORED_S)
        case QueueFull():
            raise QueueFullError(
                f"{verdict.depth} jobs wait for this model already.",
                retry_after_s=max(1, math.ceil(wait_ms(1, verdict.service_ms, slots) / 1000)),
                limits=to_states(rates, verdict.limits),
            )


def wait_ms(ahead: int, service_ms: int, slots: int) -> int:
    """Estimate how long `ahead` jobs take to leave the queue, from the measured drain rate; 0 only for none."""
    return -(-ahead * (service_ms or UNMEASURED_SERVICE_MS) // max(1, slots))
