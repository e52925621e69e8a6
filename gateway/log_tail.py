"""Follows the logs of jobs whose workers publish elsewhere: jobs that another gateway process has admitted.

One connection waits for all of them at once (XREAD BLOCK). What it cannot wait for yet, because it is waiting already,
is announced in a stream of this process's own, `ds:tail:<process>`, which ends the wait.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared import ids, redis_keys
from shared.redis_client import COMMAND_TIMEOUT_S
from shared.token_log import Batch, wait_for_news

BLOCK_MS = 1000  # renews the waking stream's life; nothing depends on it otherwise
WAKE_TTL_MS = 60_000
RETRY_S = 0.2

_log = logging.getLogger(__name__)


class LogTail:
    """The logs that this process follows.

    Args:
        redis: Where the waiting is announced.
        waiting: A client without a read timeout, for this alone.
        deliver: Takes what is new.

    """

    def __init__(self, redis: Redis, waiting: Redis, deliver: Callable[[Batch], None]) -> None:
        self._redis = redis
        self._waiting = waiting
        self._deliver = deliver
        self._places: dict[str, tuple[int, int]] = {}  # by job id: the last entry that was delivered
        self._followers: Counter[str] = Counter()
        self._wake_key = redis_keys.tail_key(ids.new_id())
        self._wake_id = "0-0"
        self._changed = asyncio.Event()
        self._waking: set[asyncio.Task[None]] = set()

    @contextmanager
    def follow(self, job_id: str, *, epoch: int, seq: int) -> Generator[None]:
        """Have everything delivered that comes after this place in a job's log, as long as the block runs."""
        self._followers[job_id] += 1
        if job_id not in self._places:
            self._places[job_id] = (epoch, seq)
            self._wake()
        try:
            yield
        finally:
            self._followers[job_id] -= 1
            if not self._followers[job_id]:
                del self._followers[job_id], self._places[job_id]

    async def run(self) -> None:
        """Deliver until cancelled; outages of Redis are waited out."""
        while True:
            if not self._places:
                self._changed.clear()
                await self._changed.wait()
            try:
                wake = (self._wake_key, self._wake_id)
                async with asyncio.timeout(BLOCK_MS / 1000 + COMMAND_TIMEOUT_S):
                    batches, self._wake_id = await wait_for_news(
                        self._waiting, self._places, wake=wake, block_ms=BLOCK_MS
                    )
            except (RedisError, TimeoutError) as error:
                _log.warning("logs_not_followed", extra={"error": repr(error)})
                await asyncio.sleep(RETRY_S)
                continue
            for batch in batches:
                if batch.job_id in self._places:
                    self._places[batch.job_id] = (batch.epoch, batch.last_seq if batch.events else 0)
                    self._deliver(batch)

    def _wake(self) -> None:
        self._changed.set()
        task = asyncio.create_task(self._announce())
        self._waking.add(task)  # a task that nobody holds can vanish
        task.add_done_callback(self._waking.discard)

    async def _announce(self) -> None:
        pipeline = self._redis.pipeline()
        pipeline.xadd(self._wake_key, {"n": ""}, maxlen=1)
        pipeline.pexpire(self._wake_key, WAKE_TTL_MS)
        try:
            await pipeline.execute()
        except RedisError as error:  # the wait under way ends by itself
            _log.warning("logs_followed_late", extra={"error": str(error)})
