"""Brings the events of jobs from workers to the requests of this process that read them.

One subscription serves the whole process: a worker's batch for any number of streams arrives as one publication. A
reader whose next event is missing (a lost publication, a reader too slow for its buffer, a subscription that was
made anew) reads the log instead, and is live again when it has caught up.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared import ids, redis_keys
from shared.events import TERMINAL_KINDS, Event, EventKind
from shared.token_log import Batch, read_after, read_tails, unpack

BUFFER_LIMIT_BYTES = 256 * 1024  # of one reader; what a slower one misses stays in the log
SILENT_AFTER_S = 1.0
RETRY_READ_S = 0.2
HEARTBEAT_EVERY_S = 8.0  # a client is promised a byte every 10 s, and the watch looks once a second
HEARTBEAT = Event(0, EventKind.HEARTBEAT.value, b"")

Observer = Callable[[Sequence[Event]], None]

_log = logging.getLogger(__name__)


class Reader:
    """One reader's place in one job's log."""

    def __init__(self, redis: Redis, job_id: str, model: str, observe: Observer) -> None:
        self.job_id = job_id
        self.model = model
        self.told_position = 0  # in the queue, as the reader was last told; 0: never
        self.seq = 0  # of the last event received, live or from the log
        self.ended = False  # whether that was the terminal one
        self.heard_at_s = asyncio.get_running_loop().time()  # when the last event was received
        self._shown_at_s = self.heard_at_s  # when the reader was last shown anything
        self._redis = redis
        self._observe = observe
        self._newest_epoch = 0  # what an older one publishes is stale
        self._read_epoch = 0  # of the last event received: with `seq`, the place in the log
        self._buffer: list[Event] = []
        self._buffered_bytes = 0
        self._behind = False
        self._meanwhile: list[Batch] | None = None  # what is published while the log is being read; None: it is not
        self._wakeup = asyncio.Event()

    @property
    def waits(self) -> bool:
        """Whether the reader was told a place in the queue and nothing since."""
        return self.told_position > 0 and self.seq == 0

    def quiet_for_s(self) -> float:
        """Return for how many seconds the reader has been shown nothing."""
        return asyncio.get_running_loop().time() - self._shown_at_s

    def offer(self, batch: Batch) -> None:
        """Take a publication if it is the next one; otherwise leave it to the log."""
        if self._meanwhile is not None:
            self._meanwhile.append(batch)
            return
        if batch.epoch < self._newest_epoch:
            return
        self._newest_epoch = batch.epoch
        if self._behind or batch.last_seq <= self.seq:
            return
        if batch.first_seq > self.seq + 1 or self._buffered_bytes > BUFFER_LIMIT_BYTES:
            self.fall_behind()
            return
        self._receive(batch)
        self._wakeup.set()

    def notify(self, notice: Event) -> None:
        """Show the reader a notice, which is not in the log, unless there is something better to show."""
        if not self._buffer and not self.ended:
            self._buffer.append(notice)
            self._shown_at_s = asyncio.get_running_loop().time()
            self._wakeup.set()

    def fall_behind(self) -> None:
        """Have the log read before anything live is taken again."""
        self._behind = True
        self._wakeup.set()

    async def events(self) -> AsyncGenerator[list[Event]]:
        """Yield what has arrived, in order, without gap or repetition; ends after the terminal event.

        While Redis is away this waits, and goes on when it is back.
        """
        while not (self.ended and not self._buffer):
            await self._wakeup.wait()
            self._wakeup.clear()
            if self._behind and not self._buffer:
                await self._catch_up()
            if self._behind:
                self._wakeup.set()
            events, self._buffer = self._buffer, []
            self._buffered_bytes = 0
            if events:
                self._observe(events)
                yield events

    async def _catch_up(self) -> None:
        # What is published meanwhile may be of an owner that has lost the job; only the log tells. So it waits, for as
        # long as a command may take at most, and is then in the log already, or the next, or stale.
        self._behind = False
        self._meanwhile = []
        try:
            batches = await read_after(self._redis, self.job_id, epoch=self._read_epoch, seq=self.seq)
        except RedisError as error:
            _log.warning("log_read_failed", extra={"error": str(error), "job_id": self.job_id})
            self._behind = True
            await asyncio.sleep(RETRY_READ_S)
            return
        finally:
            meanwhile, self._meanwhile = self._meanwhile, None
        for batch in batches:
            self._newest_epoch = max(self._newest_epoch, batch.epoch)
            self._receive(batch)
        for batch in meanwhile:
            self.offer(batch)

    def _receive(self, batch: Batch) -> None:
        self.heard_at_s = self._shown_at_s = asyncio.get_running_loop().time()
        self._buffer += [event for event in batch.split() if event.seq > self.seq]
        self._buffered_bytes += len(batch.events)
        self._read_epoch = batch.epoch
        self.seq = max(self.seq, batch.last_seq)
        self.ended = bool(self._buffer) and self._buffer[-1].kind in TERMINAL_KINDS


class Relay:
    """The readers of this process, by job.

    Args:
        redis: Where the logs are.
        silent_after_s: A reader that hears nothing for so long has its log looked into.
        heartbeat_every_s: A reader that is shown nothing for so long is shown a heartbeat.

    """

    def __init__(
        self, redis: Redis, *, silent_after_s: float = SILENT_AFTER_S, heartbeat_every_s: float = HEARTBEAT_EVERY_S
    ) -> None:
        self.channel = redis_keys.gateway_channel(ids.new_id())  # where workers publish for this process
        self._redis = redis
        self._silent_after_s = silent_after_s
        self._heartbeat_every_s = heartbeat_every_s
        self._readers: dict[str, set[Reader]] = {}

    @contextmanager
    def read(self, job_id: str, model: str, observe: Observer) -> Generator[Reader]:
        """Relay a job to a new reader; opened before the job is enqueued, it sees everything live.

        `observe` is shown all events just before the reader is.
        """
        reader = Reader(self._redis, job_id, model, observe)
        readers = self._readers.setdefault(job_id, set())
        readers.add(reader)
        try:
            yield reader
        finally:
            readers.discard(reader)
            if not readers:
                self._readers.pop(job_id, None)

    def readers(self) -> list[Reader]:
        """Return all readers of this process."""
        return [reader for readers in self._readers.values() for reader in readers]

    def deliver(self, message: bytes) -> None:
        """Hand a publication to the readers of the jobs in it."""
        for batch in unpack(message):
            for reader in self._readers.get(batch.job_id, ()):
                reader.offer(batch)

    def resubscribed(self) -> None:
        """Have every reader look into the log: publications may have been missed."""
        for reader in self.readers():
            reader.fall_behind()

    async def watch(self) -> None:
        """Look into the logs of readers that hear nothing, and keep their connections warm, until cancelled."""
        while True:
            await asyncio.sleep(self._silent_after_s)
            now_s = asyncio.get_running_loop().time()
            silent = [reader for reader in self.readers() if now_s - reader.heard_at_s >= self._silent_after_s]
            try:
                tails = await read_tails(self._redis, [reader.job_id for reader in silent])
            except RedisError as error:
                _log.warning("log_tails_unread", extra={"error": str(error)})
                continue
            for reader, (_, last_seq) in zip(silent, tails, strict=True):
                if last_seq > reader.seq:
                    reader.fall_behind()
                elif reader.quiet_for_s() >= self._heartbeat_every_s:
                    reader.notify(HEARTBEAT)
