"""Finds keys that would stay in Redis for ever."""

from redis.asyncio import Redis

from shared.redis_keys import PERMANENT_PREFIXES


async def immortal_keys(redis: Redis) -> list[str]:
    """Return the keys that neither expire nor are on the permanent list."""
    keys = [key async for key in redis.scan_iter(count=1000)]
    pipeline = redis.pipeline(transaction=False)
    for key in keys:
        pipeline.pttl(key)
    lifetimes = await pipeline.execute()
    return [
        key.decode()
        for key, lifetime_ms in zip(keys, lifetimes, strict=True)
        if lifetime_ms == -1 and not key.decode().startswith(PERMANENT_PREFIXES)
    ]
