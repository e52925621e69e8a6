"""Has a Redis lose what it has acknowledged, as a failover to a replica that lagged behind does."""

from typing import Any, Self

from redis.asyncio import Redis


class Snapshot:
    """All that Redis had at one moment."""

    def __init__(self, redis: Redis, keys: dict[bytes, tuple[bytes, int]]) -> None:
        self._redis = redis
        self._keys = keys  # what each held, and how long it was to stay in ms; 0: for ever

    @classmethod
    async def of(cls, redis: Redis) -> Self:
        """Return what Redis has now."""
        pipeline = redis.pipeline(transaction=True)
        names = await redis.keys()
        for name in names:
            pipeline.dump(name)
            pipeline.pttl(name)
        answers: list[Any] = await pipeline.execute()
        held = zip(names, zip(answers[::2], answers[1::2], strict=True), strict=True)
        return cls(redis, {name: (value, max(ttl_ms, 0)) for name, (value, ttl_ms) in held if value})

    async def bring_back(self) -> None:
        """Have Redis be as it was, all at once; its clients notice nothing."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.flushall()
        for name, (value, ttl_ms) in self._keys.items():
            pipeline.restore(name, ttl_ms, value)
        await pipeline.execute()
