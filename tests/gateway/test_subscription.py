"""What is published reaches whom it concerns, by the one subscription that a gateway has."""

import asyncio

from redis.asyncio import Redis

from gateway.lifespan import subscribe
from gateway.relay import Relay
from shared import redis_keys
from shared.redis_client import connect
from shared.revocations import Revocations

_HANG_S = 20.0  # a limit for hanging, not an expectation


async def test_a_revocation_is_heard_with_whom_it_concerns(redis: Redis, redis_url: str) -> None:
    heard: asyncio.Queue[list[str]] = asyncio.Queue()
    told = asyncio.Event()
    async with connect(redis_url, role="test-relay", read_timeout_s=None) as listening:
        subscription = await subscribe(
            listening, Relay(redis), {redis_keys.REVOCATIONS_CHANNEL: told.set}, revoked=heard.put_nowait
        )
        running = asyncio.create_task(subscription.run())
        try:
            async with asyncio.timeout(_HANG_S):
                await told.wait()  # it is told of each new subscription too: something may have been missed
                told.clear()
                await Revocations(redis).revoke("key:1", "user:2")
                assert await heard.get() == ["key:1", "user:2"]
                await told.wait()
        finally:
            running.cancel()
