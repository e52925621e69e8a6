"""Jobs whose end PostgreSQL lacks: durable ones that are to end as soon as it has it, and those that ended unclaimed.

Structures: `ds:ends`, a hash of how jobs ended (JSON of `JobEnd`) by id, and `ds:unstored`, a sorted set of the same
ids by when the next gateway may try to store them (ms). A worker leaves a durable job there in place of finishing it
(`JobQueue.leave_call`), the stop script whatever it ends; a gateway stores them (gateway/durability/recorder.py) and
only then publishes the end of the durable ones. An entry stays until then, however long PostgreSQL is away: the two
keys are permanent, and as large as what they index. What such a job has answered is in its log.
"""

from redis.asyncio import Redis

from shared import redis_keys, scripts
from shared.job_queue import END_JOB, LISTED_MS
from shared.jobs import JobEnd, decode_end

LEASE_MS = 12_000  # longer than PostgreSQL may take to answer or to be given up


class EndedJobs:
    """What is to be stored, for gateways."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._take = scripts.load(redis, "take_ends")
        self._publish = scripts.load(redis, *END_JOB, "publish_end")

    async def take(self, limit: int) -> dict[str, JobEnd]:
        """Return ends to store, by job id; for LEASE_MS nobody else is given them."""
        keys = [redis_keys.UNSTORED, redis_keys.ENDS]
        reply = await self._take(keys, [limit, LEASE_MS])
        return {id_.decode(): decode_end(end) for id_, end in zip(reply[::2], reply[1::2], strict=True)}

    async def publish(self, job_id: str, end: JobEnd) -> bool:
        """Say that an end is stored: whoever reads the job hears of it, and the entry goes. Safe to repeat.

        Returns:
            Whether that was news: the job was durable, and nobody has said so before.

        """
        keys = [
            redis_keys.JOB + job_id,
            redis_keys.LOG + job_id,
            redis_keys.PAYLOAD + job_id,
            redis_keys.READERS + job_id,
            redis_keys.UNSTORED,
            redis_keys.ENDS,
        ]
        arguments = [job_id, end.epoch, end.status.value, end.terminal, LISTED_MS]
        return bool(await self._publish(keys, arguments))

    async def give_back(self, job_ids: list[str]) -> None:
        """Have ends that could not be stored tried again, by whoever comes first."""
        if job_ids:
            await self._redis.zadd(redis_keys.UNSTORED, dict.fromkeys(job_ids, 0), xx=True)
