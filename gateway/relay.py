"""Brings the events of jobs from workers to the requests of this process that read them.

One subscription serves the whole process: a worker's batch for any number of streams arrives as one publication. A
reader whose next event is missing (a lost publication, a reader too slow for its buffer, a subscription that was
made anew) reads the log instead, and is live again when it has caught up.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.request_id import current_request_id
from shared import ids, redis_keys
from shared.credential import Credential
from shared.errors import JobLostError
from shared.events import TERMINAL_KINDS, ErrorBody, Event, EventKind, Resumed, describe, encode_payload
from shared.token_log import Batch, read_after, read_tails, unpack

BUFFER_LIMIT_BYTES = 256 * 1024  # of one reader; what a slower one misses stays in the log
SILENT_AFTER_S = 1.0
RETRY_READ_S = 0.2
ENTRIES_AT_ONCE = 64  # of a log; an entry is what one tick brought, 1 MiB at most, mostly some tokens
HEARTBEAT_EVERY_S = 8.0  # a client is promised a byte every 10 s, and the watch looks once a second
RESUBMIT_AFTER_S = 2.0  # by then a worker that has the job in hand has put it back
LOST_AFTER_S = 5.0  # a job that is admitted just now, or a Redis that is loading its data, is not lost
HEARTBEAT = Event(0, EventKind.HEARTBEAT.value, b"")

Observer = Callable[[Sequence[Event]], None]


def _see_nothing(_: Sequence[Event]) -> None:
    """Observe a reader who is not the first one: a job is measured once."""


_log = logging.getLogger(__name__)
_resumptions = msgspec.json.Decoder(Resumed)


class Reader:
    """One reader's place in one job's log."""

    def __init__(
        self,
        redis: Redis,
        job_id: str,
        model: str,
        observe: Observer,
        *,
        grace_ms: int = 0,
        seq: int = 0,
        lost_after_s: float = LOST_AFTER_S,
    ) -> None:
        self.job_id = job_id
        self.model = model
        self.grace_ms = grace_ms  # how long the job goes on without readers
        self.credential: Credential | None = None  # with which a stream was opened
        self.may_part = False  # whether the client can go on elsewhere: it has ids to resume from
        self.has_parted = False
        self.is_revoked = False  # whether it has parted because its credential is not good any more
        self.is_durable = False  # whether the job outlives Redis; then others tell whether it is lost
        self.stream_url = ""  # where the stream can be read again
        self.told_position = 0  # in the queue, as the reader was last told; 0: never
        self.seq = seq  # of the last event received, live or from the log
        self.ended = False  # whether that was the terminal one
        self._now_s = asyncio.get_running_loop().time  # looked up once: on Python 3.11 that is a system call
        self.heard_at_s = self._now_s()  # when the last event was received
        self._shown_at_s = self.heard_at_s  # when the reader was last shown anything
        self.missing_since_s: float | None = None  # since when Redis lacks what comes next; None: nothing is missed
        self.resubmit: Callable[[], Awaitable[None]] | None = None  # enqueues the job again; None: others have to
        self._request_id = current_request_id.get()
        self._redis = redis
        self._observe = observe
        self._lost_after_s = lost_after_s
        self._newest_epoch = 0  # what an older one publishes is stale
        self._is_abreast = seq == 0  # whether the events up to `seq` have been seen here
        self._read_epoch = 0  # with `_read_seq`, the place in the log: the id of the last entry received
        self._read_seq = 0
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
        return self._now_s() - self._shown_at_s

    def offer(self, batch: Batch) -> None:
        """Take a publication if it is the next one; otherwise leave it to the log."""
        if self._meanwhile is not None:
            self._meanwhile.append(batch)
            return
        if batch.epoch < self._newest_epoch:
            return
        self._newest_epoch = batch.epoch
        if self._behind or batch.last_seq <= self.seq:
            if self._is_contradicted_by(batch):
                self.fall_behind()  # the log is to tell
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
            self._shown_at_s = self._now_s()
            self._wakeup.set()

    def begin_with(self, notice: Event) -> None:
        """Show the reader a notice before anything else, also if more has arrived already; before `events` begins."""
        self._buffer.insert(0, notice)
        self._wakeup.set()

    def lose(self) -> None:
        """End the reader with an error that is in no log: what comes next is gone from Redis."""
        _log.warning("job_lost", extra={"job_id": self.job_id})
        error = JobLostError("The job was lost with Redis's data.")
        payload = encode_payload(ErrorBody(describe(error, request_id=self._request_id)))
        self._buffer.append(Event(0, EventKind.ERROR.value, payload))
        self.ended = True
        self._wakeup.set()

    def fall_behind(self) -> None:
        """Have the log read before anything live is taken again."""
        self._behind = True
        self._wakeup.set()

    def part(self) -> None:
        """End the reader before the job's end, if its client can go on reading elsewhere."""
        if self.may_part:
            self.leave()

    def revoke(self) -> None:
        """End the reader: its client may read no more."""
        self.is_revoked = True
        self.leave()

    def leave(self) -> None:
        """End the reader before the job's end."""
        self.has_parted = True
        self._wakeup.set()

    def knows(self, epoch: int, last_seq: int) -> bool:
        """Tell whether a log that ends so has nothing new."""
        return last_seq <= self.seq and epoch <= self._read_epoch

    def missing_for_s(self) -> float:
        """Note that Redis lacks what comes next, and return for how many seconds that has been so."""
        now_s = self._now_s()
        if self.missing_since_s is None:
            self.missing_since_s = now_s
        return now_s - self.missing_since_s

    def miss(self) -> None:
        """Note that Redis lacks what comes next; when that has been so for too long, it is lost."""
        if self.missing_for_s() >= self._lost_after_s and not self.is_durable:
            self.lose()

    @property
    def is_overdue(self) -> bool:
        """Whether Redis has lacked what comes next for so long that it may be lost."""
        return self.missing_since_s is not None and self.missing_for_s() >= self._lost_after_s

    async def events(self) -> AsyncGenerator[list[Event]]:
        """Yield what has arrived, in order, without gap or repetition; ends after the terminal event, or by `leave`.

        While Redis is away this waits, and goes on when it is back. If it is cancelled while it waits, another call
        goes on where this one was.
        """
        while self._buffer or not (self.ended or self.has_parted):
            await self._wakeup.wait()
            self._wakeup.clear()
            if self._behind and not self._buffer:
                try:
                    await self._catch_up()
                except BaseException:
                    self.fall_behind()  # whoever reads on finds what was missed
                    raise
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
            batches = await read_after(
                self._redis, self.job_id, epoch=self._read_epoch, seq=self._read_seq, most_entries=ENTRIES_AT_ONCE
            )
        except RedisError as error:
            _log.warning("log_read_failed", extra={"error": str(error), "job_id": self.job_id})
            self._behind = True
            await asyncio.sleep(RETRY_READ_S)
            return
        finally:
            meanwhile, self._meanwhile = self._meanwhile, None
        for batch in batches:
            self._newest_epoch = max(self._newest_epoch, batch.epoch)
            if self._is_contradicted_by(batch):
                self.lose()
                return
            if batch.first_seq > self.seq + 1 and not batch.events:
                continue  # what its owner says first tells whether what is missing is needed
            if batch.first_seq > self.seq + 1 and not _needs_nothing_before(batch):
                await self._wait_at_gap()
                return
            self._receive(batch)
            self._is_abreast |= batch.last_seq == self.seq
        self.missing_since_s = None
        if len(batches) == ENTRIES_AT_ONCE:
            self.fall_behind()  # there may be more, also of what came meanwhile
            return
        for batch in meanwhile:
            self.offer(batch)

    def _is_contradicted_by(self, batch: Batch) -> bool:
        """Tell whether a new owner goes on before what was read: Redis lost that, and the last owner is lost too.

        What the new one says under the same numbers is something else.
        """
        has_text = self.seq > 1  # the first event only says that a worker has begun
        return has_text and self._is_abreast and batch.epoch > self._read_epoch and batch.first_seq <= self.seq

    async def _wait_at_gap(self) -> None:
        """Wait a little for the owner to put back what Redis has lost; perhaps it cannot."""
        self._behind = True
        self.miss()
        await asyncio.sleep(RETRY_READ_S)

    def _receive(self, batch: Batch) -> None:
        self.heard_at_s = self._shown_at_s = self._now_s()
        self._buffer += [event for event in batch.split() if event.seq > self.seq]
        self._buffered_bytes += len(batch.events)
        self._read_epoch, self._read_seq = batch.epoch, batch.last_seq if batch.events else 0
        self.seq = max(self.seq, batch.last_seq)
        self.ended = bool(self._buffer) and self._buffer[-1].kind in TERMINAL_KINDS


class Relay:
    """The readers of this process, by job.

    Args:
        redis: Where the logs are.
        silent_after_s: A reader that hears nothing for so long has its log looked into.
        heartbeat_every_s: A reader that is shown nothing for so long is shown a heartbeat.
        resubmit_after_s: A job of which nothing was read is enqueued again when Redis has not had it for so long.
        lost_after_s: A reader for whom Redis has not had what comes next for so long is told that it is lost.

    """

    def __init__(
        self,
        redis: Redis,
        *,
        silent_after_s: float = SILENT_AFTER_S,
        heartbeat_every_s: float = HEARTBEAT_EVERY_S,
        resubmit_after_s: float = RESUBMIT_AFTER_S,
        lost_after_s: float = LOST_AFTER_S,
    ) -> None:
        self.channel = redis_keys.gateway_channel(ids.new_id())  # where workers publish for this process
        self._redis = redis
        self._silent_after_s = silent_after_s
        self._heartbeat_every_s = heartbeat_every_s
        self._resubmit_after_s = resubmit_after_s
        self._lost_after_s = lost_after_s
        self._readers: dict[str, set[Reader]] = {}
        self._is_closed = False

    @contextmanager
    def read(
        self, job_id: str, model: str, observe: Observer = _see_nothing, *, grace_ms: int = 0, seq: int = 0
    ) -> Generator[Reader]:
        """Relay a job to a new reader; opened before the job is enqueued, it sees everything live.

        Args:
            job_id: What is read.
            model: Of the job.
            observe: Is shown all events just before the reader is.
            grace_ms: How long the job goes on without readers.
            seq: Of the last event that the reader has; what comes after it is read once `fall_behind` says so.

        """
        reader = Reader(
            self._redis, job_id, model, observe, grace_ms=grace_ms, seq=seq, lost_after_s=self._lost_after_s
        )
        readers = self._readers.setdefault(job_id, set())
        readers.add(reader)
        if self._is_closed:
            reader.leave()
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
            self.offer(batch)

    def offer(self, batch: Batch) -> None:
        """Hand what is new in a log to its readers."""
        for reader in self._readers.get(batch.job_id, ()):
            reader.offer(batch)

    def is_read(self, job_id: str) -> bool:
        """Tell whether a job has a reader here."""
        return job_id in self._readers

    def resubscribed(self) -> None:
        """Have every reader look into the log: publications may have been missed."""
        for reader in self.readers():
            reader.fall_behind()

    def part(self) -> None:
        """Send away all readers who can go on at another gateway: this one stops."""
        for reader in self.readers():
            reader.part()

    def close(self) -> None:
        """Send away all readers, also those that are still to come: there is no time left for them."""
        self._is_closed = True
        for reader in self.readers():
            reader.leave()

    async def watch(self) -> None:
        """Look into the logs of readers that hear nothing, and keep their connections warm, until cancelled."""
        while True:
            await asyncio.sleep(self._silent_after_s)
            now_s = asyncio.get_running_loop().time()
            silent = [
                reader
                for reader in self.readers()
                if not reader.ended and now_s - reader.heard_at_s >= self._silent_after_s
            ]
            try:
                await self._look_after(silent)
            except RedisError as error:
                _log.warning("log_tails_unread", extra={"error": str(error)})
            for reader in silent:
                if reader.quiet_for_s() >= self._heartbeat_every_s:
                    reader.notify(HEARTBEAT)

    async def _look_after(self, silent: list[Reader]) -> None:
        """Have those read their logs that missed something; resubmit what Redis has lost, or give it up."""
        job_ids = [reader.job_id for reader in silent]
        tails, kept = await read_tails(self._redis, job_ids), await _are_kept(self._redis, job_ids)
        for reader, (epoch, last_seq), is_kept in zip(silent, tails, kept, strict=True):
            if not reader.knows(epoch, last_seq):
                reader.fall_behind()
            elif is_kept:
                reader.missing_since_s = None
            elif reader.resubmit is None or reader.seq:
                reader.miss()
            elif reader.missing_for_s() >= self._resubmit_after_s:
                await reader.resubmit()


def _needs_nothing_before(batch: Batch) -> bool:
    """Tell whether events make void what came before them, so that nobody misses it."""
    _, kind, payload = next(batch.split())
    if kind == EventKind.RESUMED.value:
        return _resumptions.decode(payload).mode == "restarted"
    return kind == EventKind.ERROR.value


async def _are_kept(redis: Redis, job_ids: Sequence[str]) -> list[bool]:
    """Tell of each job whether Redis has it."""
    pipeline = redis.pipeline(transaction=False)
    for job_id in job_ids:
        pipeline.exists(redis_keys.JOB + job_id)
    return [bool(count) for count in await pipeline.execute()]
