"""Erases what Redis has of jobs before it expires: their users, or the conversations that they were in, are deleted."""

from collections.abc import Sequence

from redis.asyncio import Redis

from shared import redis_keys, scripts

AT_ONCE = 200  # jobs; Redis does nothing else for 2 ms
AFTER_MS = 10_000  # whoever reads the job just now is to have its end

_PREFIXES = (redis_keys.JOB, redis_keys.LOG, redis_keys.PAYLOAD, redis_keys.READERS)


class Erasure:
    """Erases; safe to repeat."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._erase = scripts.load(redis, "idempotency", "erase")

    async def erase_jobs(self, job_ids: Sequence[str]) -> None:
        """Have nothing left of jobs: at once, or AFTER_MS after their end is told, if it is still to be."""
        for first in range(0, len(job_ids), AT_ONCE):
            ids = job_ids[first : first + AT_ONCE]
            await self._erase([prefix + id_ for id_ in ids for prefix in _PREFIXES], [AFTER_MS, *ids])

    async def forget_owner(self, user_id: str, key_ids: Sequence[str]) -> None:
        """Erase which jobs a user and their API keys have, and the user's place in the fair order."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.unlink(redis_keys.JOBS + user_id, *(redis_keys.KEY_JOBS + key_id for key_id in key_ids))
        for model in await self._redis.zrange(redis_keys.MODELS, 0, -1):
            pipeline.zrem(redis_keys.FAIR + model.decode(), user_id)
        await pipeline.execute()
