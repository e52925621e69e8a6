"""Hears what is published in Redis, and what Redis is told."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from shared.ids import new_id

_HANG_S = 20.0  # a limit for hanging, not an expectation


@asynccontextmanager
async def listening(redis: Redis, channel: str) -> AsyncGenerator[Callable[[], Awaitable[bytes]]]:
    """Subscribe to a channel; what is given returns the next publication each time it is called."""
    async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(channel)
        await pubsub.get_message(timeout=_HANG_S)  # that we are subscribed; nothing before it is lost

        async def hear() -> bytes:
            message = await pubsub.get_message(timeout=_HANG_S)
            assert message is not None, f"nothing is published on {channel}"
            assert isinstance(message["data"], bytes)
            return message["data"]

        yield hear


@asynccontextmanager
async def overhearing(redis: Redis) -> AsyncGenerator[Callable[[], Awaitable[list[str]]]]:
    """Hear every command that Redis is sent; what is given returns those since it was last called, oldest first."""
    async with redis.monitor() as monitor:

        async def hear() -> list[str]:
            end = new_id()
            await redis.echo(end)
            heard: list[str] = []
            async with asyncio.timeout(_HANG_S):
                while (command := str((await monitor.next_command())["command"])) != f"ECHO {end}":
                    heard.append(command)
            return heard

        await hear()  # that we listen, and how we connected
        yield hear
