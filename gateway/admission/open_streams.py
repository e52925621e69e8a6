"""The streams of this process that count towards somebody's limit, as Redis has them (shared/demand.py).

Admission opens them; here they are renewed as long as they are sent, and closed as soon as they have ended.
"""

import asyncio
import contextlib
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared import scripts
from shared.demand import STREAM_LEASE_MS, Demand

RENEW_EVERY_S = 3.0
RETRY_S = 0.2
KEYS_AT_ONCE = 500

_log = logging.getLogger(__name__)


class OpenStreams:
    """The streams of this process."""

    def __init__(self, redis: Redis) -> None:
        self._keep = scripts.load(redis, "keep_streams")
        self._open: dict[str, Sequence[str]] = {}  # the keys that each counts towards, by its id
        self._closed: dict[str, Sequence[str]] = {}
        self._changed = asyncio.Event()

    @contextmanager
    def sending(self, demand: Demand) -> Generator[None]:
        """Keep a stream open inside the block which this demand has opened, if it has."""
        if not demand.streams:
            yield
            return
        keys = self._open[demand.stream_id] = [limit.key for limit in demand.streams]
        try:
            yield
        finally:
            del self._open[demand.stream_id]
            self._closed[demand.stream_id] = keys
            self._changed.set()

    async def run(self) -> None:
        """Tell Redis which streams are open and which are not any more, until cancelled; outages are waited out."""
        loop = asyncio.get_running_loop()
        renew_at_s = 0.0
        while True:
            self._changed.clear()
            try:
                closed, self._closed = self._closed, {}
                await self._tell(closed, for_ms=0)
                if loop.time() >= renew_at_s:
                    await self._tell(self._open, for_ms=STREAM_LEASE_MS)
                    renew_at_s = loop.time() + RENEW_EVERY_S
            except RedisError as error:  # what was closed meanwhile counts until its lease ends
                _log.warning("open_streams_not_told", extra={"error": str(error)})
                await asyncio.sleep(RETRY_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(renew_at_s):
                    await self._changed.wait()

    async def _tell(self, streams: Mapping[str, Sequence[str]], *, for_ms: int) -> None:
        pairs = [(key, id_) for id_, keys in streams.items() for key in keys]
        for first in range(0, len(pairs), KEYS_AT_ONCE):
            keys, ids = zip(*pairs[first : first + KEYS_AT_ONCE], strict=True)
            await self._keep(keys, [for_ms, *ids])
