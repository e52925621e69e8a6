"""How durable jobs get into the queue: reserved, then stored in PostgreSQL, then enqueued.

Structure: `ds:reserved:<model>`, a sorted set of the ids of jobs that are being stored, by the end of the hold (ms);
they count towards the queue's bound. Written and trimmed by the reserve script, left by abandon and enqueue; expires
with its last hold. Whatever dies between two of the steps loses nothing that was promised: an enqueue that did not
come is made by any gateway (gateway/durability/restorer.py), and one that comes late, or twice, changes nothing.
"""

from typing import Any

from redis.asyncio import Redis

from shared import redis_keys, scripts
from shared.demand import NO_LIMITS, Demand
from shared.idempotency import KEPT_MS, Idempotency
from shared.ids import created_ms
from shared.job_queue import time_to_live_ms
from shared.jobs import Job, encode_job
from shared.verdicts import Place, Verdict, to_verdict

HOLD_MS = 5_000  # as long as a transaction may take
DEMAND = ("bucket", "gcra", "demand")


class DurableQueue:
    """The typed face of the scripts.

    Args:
        redis: Where the queue is.
        stream_retention_ms: How long a job's log stays after its end, at least.
        answer_retention_ms: How long an answer is kept; one that is not in PostgreSQL by then is not wanted any more.

    """

    def __init__(self, redis: Redis, *, stream_retention_ms: int, answer_retention_ms: int) -> None:
        self._stream_retention_ms = stream_retention_ms
        self._answer_retention_ms = answer_retention_ms
        self._reserve = scripts.load(redis, *DEMAND, "job_lists", "idempotency", "reserve")
        self._abandon = scripts.load(redis, *DEMAND, "idempotency", "abandon")
        self._enqueue = scripts.load(redis, *DEMAND, "job_lists", "idempotency", "enqueue_job", "enqueue")

    async def reserve(self, job: Job, *, demand: Demand, max_depth: int, idempotency: Idempotency | None) -> Verdict:
        """Decide as `JobQueue.admit` does, and hold the job's place for HOLD_MS."""
        keys = [
            redis_keys.WAITING + job.model,
            redis_keys.PACE + job.model,
            redis_keys.RESERVED + job.model,
            *_keys_of(job, demand, idempotency),
        ]
        fingerprint = idempotency.fingerprint if idempotency else ""
        arguments = [job.id, max_depth, HOLD_MS, fingerprint, KEPT_MS, redis_keys.JOB, *_numbers_of(job, demand)]
        return to_verdict(await self._reserve(keys, arguments))

    async def abandon(self, job: Job, *, demand: Demand, idempotency: Idempotency | None) -> None:
        """Give back what was reserved and spent for a job that could not be stored."""
        keys = [redis_keys.RESERVED + job.model, *_keys_of(job, demand, idempotency)]
        await self._abandon(keys, [job.id, *_numbers_of(job, demand)])

    async def enqueue(
        self,
        job: Job,
        *,
        channel: str,
        queue_timeout_ms: int,
        idempotency: Idempotency | None,
        demand: Demand = NO_LIMITS,
        is_again: bool = False,
    ) -> Place | None:
        """Enqueue a job that is stored.

        Args:
            job: What is to be done.
            channel: Where the gateway listens that asks.
            queue_timeout_ms: The job expires when no worker has claimed it by then, from now on.
            demand: What was met when the job was reserved, by which it is settled; without it, what was reserved stays
                its price.
            idempotency: What the request is known by; the key stands for the job again if Redis has lost that.
            is_again: Whether Redis may have had the job before and lost it; then its log begins behind every id that
                the lost one can have had, and with `resumed`.

        Returns:
            Its place; None: it is or was in the queue already.

        """
        retention_ms = max(self._stream_retention_ms, KEPT_MS) if idempotency else self._stream_retention_ms
        longest_ms = time_to_live_ms(job, queue_timeout_ms=queue_timeout_ms, retention_ms=retention_ms)
        keys = [
            redis_keys.WAITING + job.model,
            redis_keys.FAIR + job.model,
            redis_keys.PACE + job.model,
            redis_keys.JOB + job.id,
            redis_keys.PAYLOAD + job.id,
            redis_keys.DEADLINES,
            redis_keys.RESERVED + job.model,
            *_keys_of(job, demand, idempotency),
        ]
        arguments = [
            job.id,
            job.user_id,
            job.model,
            1,
            queue_timeout_ms,
            job.timeout_ms,
            max(longest_ms, self._answer_retention_ms),
            channel,
            encode_job(job),
            redis_keys.wake_channel(job.model),
            job.request_id,
            retention_ms,
            job.kind.value,
            created_ms(job.id),
            idempotency.fingerprint if idempotency else "",
            KEPT_MS,
            int(is_again),
            job.api_key_id or "",
            job.lag,
            *_numbers_of(job, demand),
        ]
        reply = await self._enqueue(keys, arguments)
        return Place(reply[0], int(reply[1])) if reply else None


def _keys_of(job: Job, demand: Demand, idempotency: Idempotency | None) -> list[str]:
    lists = redis_keys.job_lists(job.user_id, job.api_key_id)
    return [*lists, *demand.keys, *([idempotency.key] if idempotency else ())]


def _numbers_of(job: Job, demand: Demand) -> list[Any]:
    return [len(redis_keys.job_lists(job.user_id, job.api_key_id)), *demand.arguments]
