"""One pub/sub connection that a process keeps for its lifetime, and that says when it may have missed something.

Redis forgets a publication as soon as it is sent. So each time the subscription has been (re)made, the owner is told,
and reads from where the truth is kept what it may have missed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

PING_EVERY_S = 1.0
SILENT_AFTER_S = 3.0  # no pong for so long: the connection is half open, which TCP alone notices after minutes
RECONNECT_AFTER_S = 0.2

_log = logging.getLogger(__name__)


class Subscription:
    """Hands every publication on some channels to a function, across reconnections.

    Args:
        redis: A client without a read timeout, for this subscription alone.
        on_message: Called with channel and data for every publication.
        on_subscribed: Called each time a channel's subscription is confirmed: before it, publications were missed.
        on_lost: Called when the connection has broken, and again each time that it could not be made anew.

    """

    def __init__(
        self,
        redis: Redis,
        *,
        on_message: Callable[[str, bytes], None],
        on_subscribed: Callable[[str], None] = lambda _channel: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._redis = redis
        self._on_message = on_message
        self._on_subscribed = on_subscribed
        self._on_lost = on_lost
        self._channels: set[str] = set()
        self._pubsub: PubSub | None = None
        self._heard_at = 0.0
        self.confirmed = asyncio.Event()  # set while at least one channel's subscription stands

    async def follow(self, channels: Iterable[str]) -> None:
        """Follow exactly these channels from now on, in this connection and the next ones."""
        followed, self._channels = self._channels, set(channels)
        if self._pubsub is not None:
            with contextlib.suppress(RedisError):  # the reader notices too, and connects again with the wanted channels
                await self._adjust(self._pubsub, followed)

    async def _adjust(self, pubsub: PubSub, followed: set[str]) -> None:
        if new := self._channels - followed:
            await pubsub.subscribe(*sorted(new))
        if old := followed - self._channels:
            await pubsub.unsubscribe(*sorted(old))

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                _log.warning("subscription_lost", extra={"error": str(error)})
                self._on_lost()
            finally:
                self.confirmed.clear()
            await asyncio.sleep(RECONNECT_AFTER_S)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        async with contextlib.aclosing(self._redis.pubsub()) as pubsub:
            self._heard_at = loop.time()
            asked_for = set(self._channels)
            await pubsub.subscribe(*sorted(asked_for))
            self._pubsub = pubsub
            await self._adjust(pubsub, asked_for)  # `follow` may have been called meanwhile
            watchdog = asyncio.create_task(self._watch(pubsub))
            try:
                while True:
                    reply = cast("list[Any]", await pubsub.parse_response(block=True))
                    self._heard_at = loop.time()
                    if reply[0] == b"message":
                        self._on_message(reply[1].decode(), reply[2])
                    elif reply[0] == b"subscribe":
                        self.confirmed.set()
                        self._on_subscribed(reply[1].decode())
            finally:
                self._pubsub = None
                watchdog.cancel()

    async def _watch(self, pubsub: PubSub) -> None:
        """Close the connection when it no longer answers, so that the reader wakes with an error."""
        loop = asyncio.get_running_loop()
        while loop.time() - self._heard_at < SILENT_AFTER_S:
            with contextlib.suppress(RedisError):
                await pubsub.ping()
            await asyncio.sleep(PING_EVERY_S)
        if pubsub.connection is not None:
            await pubsub.connection.disconnect(nowait=True)
