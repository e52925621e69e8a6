r"""The token log: every event of a job from `started` on, in order, written once by whoever holds the job's epoch.

Structure: a Redis stream `ds:log:<job id>`. An entry's id is `<epoch>-<seq of its last event>`; its one field `e`
holds the events, each kind byte + payload, joined by newlines. A claim adds an entry `<epoch>-0` with the fields `o`
(the owner), `s` (the last seq before it) and `l` (the last event before it: whole if terminal, else its kind): from
then on Redis itself refuses what an older epoch appends, because stream ids only rise. Expires with its job; the claim,
the restore and the finish script set that, and nobody else makes a log: it would stay for ever.

Redis may lose what it has acknowledged: at a failover, at a restart, by FLUSHALL. So an owner keeps what it has
appended as long as it has the job. When a writing finds no log, or a heartbeat fewer entries than were stored, the
restore script writes the log anew: what is missing in front of something newer could not be added.

The log is the truth. The same bytes are published to the gateway process that relays the job, as
header (`>36sQIII`: job id, epoch, first seq, last seq, length of what follows) + events, repeated per job. A header
with length 0 says that an epoch has begun. Whoever misses a publication reads the log.
"""

import asyncio
import logging
import struct
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from shared import redis_keys
from shared.events import TERMINAL_KINDS, Event
from shared.redis_client import COMMAND_TIMEOUT_S
from shared.scripts import Command, ScriptCall

HEADER = struct.Struct(">36sQIII")
_ENTRIES_PER_LOG = 100
PENDING_LIMIT_BYTES = 1 << 20  # a job that is this far ahead of Redis waits, so that a slow Redis costs bounded memory
BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)

_log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Consecutive events of one job, as they stand in one entry or one publication."""

    job_id: str
    epoch: int
    first_seq: int
    last_seq: int
    events: bytes  # empty: only says that the epoch has begun

    def split(self) -> Iterator[Event]:
        """Yield the events one by one."""
        if self.events:
            for seq, event in enumerate(self.events.split(b"\n"), self.first_seq):
                yield Event(seq, event[:1], event[1:])


class FencedError(Exception):
    """Another worker owns the job now: what this one appends is refused, and it must stop."""


Restore = Callable[[Sequence[bytes]], Command]
"""Makes the command that puts a job back as its owner knows it, with all batches of events that it has appended.

It answers with the number of entries of the log; 0: the job has another owner, and nothing is changed.
"""


class JobLog:
    """The writing end of one job's log, held by the worker that claimed the job."""

    def __init__(
        self,
        writer: "TokenLogWriter",
        *,
        job_id: str,
        epoch: int,
        last_seq: int,
        entries: int,
        channel: str,
        restore: Restore,
    ) -> None:
        self.job_id = job_id
        self.epoch = epoch
        self.last_seq = last_seq  # of the last event appended, stored or not
        self.size_bytes = 0  # of all payloads appended by this owner
        self.has_ended = False  # whether the terminal event was appended
        self.stored_entries = entries  # that Redis has acknowledged, those of earlier owners included
        self._writer = writer
        self.channel = channel.encode()  # where it is published
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._kept: list[bytes] = []  # all batches of events that were handed to Redis
        self._in_flight = 0  # entries on their way
        self._restore = restore
        self._is_lost = False  # whether Redis has lost something
        self._fenced = False
        self._stored = asyncio.Event()
        self._stored.set()

    def append(self, kind: bytes, payload: bytes) -> int:
        """Add an event at the end and return its seq; it is on its way to Redis by the next turn of the loop.

        Raises:
            FencedError: The job has a new owner.

        """
        if self._fenced:
            raise FencedError(self.job_id)
        if not self._pending:
            self._stored.clear()
            self._writer.schedule(self)
        self._pending.append(kind + payload)
        self._pending_bytes += len(payload)
        self.size_bytes += len(payload)
        self.has_ended = kind in TERMINAL_KINDS
        self.last_seq += 1
        return self.last_seq

    async def room(self) -> None:
        """Wait until Redis has caught up enough for more to be appended.

        Raises:
            FencedError: The job has a new owner.

        """
        if self._fenced or self._pending_bytes > PENDING_LIMIT_BYTES:
            await self.stored()

    @property
    def entries(self) -> int:
        """How many entries the log has when everything appended so far is stored; 0 while some are lost."""
        return 0 if self._is_lost else self.stored_entries + self._in_flight + bool(self._pending)

    def restore(self) -> None:
        """Have the job and its log written again as this owner knows them, because Redis has lost something."""
        if self._fenced:
            return
        self._is_lost = True
        self._stored.clear()
        self._writer.schedule(self)

    async def restored(self) -> None:
        """Wait until Redis has the job and its log as this owner knows them.

        Raises:
            FencedError: The job has a new owner, or has ended.

        """
        self.restore()
        await self.stored()

    async def stored(self) -> None:
        """Wait until everything appended is in Redis; while Redis is away, that is until it is back.

        Raises:
            FencedError: The job has a new owner.

        """
        await self._stored.wait()
        if self._fenced:
            raise FencedError(self.job_id)

    async def read_back(self) -> AsyncGenerator[Event]:
        """Yield what earlier owners have appended, in order; of use before this one appends anything.

        Raises:
            RedisError: Redis is out of reach.

        """
        epoch = seq = 0
        while batches := await self._writer.read_after(self.job_id, epoch=epoch, seq=seq):
            for batch in batches:
                for event in batch.split():
                    yield event
            epoch, seq = batches[-1].epoch, batches[-1].last_seq

    @property
    def has_pending(self) -> bool:
        """Whether there is something to write; what a new owner made void is not."""
        return bool(self._pending) or self._is_lost

    def take(self) -> tuple[Batch, bool]:
        """Hand over what is pending, and say whether all that was handed over before is to be written as well."""
        events = b"\n".join(self._pending)
        batch = Batch(self.job_id, self.epoch, self.last_seq - len(self._pending) + 1, self.last_seq, events)
        restores, self._is_lost = self._is_lost, False
        if events:
            self._kept.append(events)
            self._pending.clear()
            self._pending_bytes = 0
        if restores:
            self.stored_entries = 0
        else:
            self._in_flight = 1
        return batch, restores

    def restoration(self) -> Command:
        """Return what puts back everything that was handed to Redis."""
        return self._restore(self._kept)

    def confirm(self, batch: Batch) -> None:
        """Note that `batch` is in the log, whether it was before or not."""
        self.stored_entries += self._in_flight
        self._in_flight = 0
        if batch.last_seq == self.last_seq and not self._is_lost:
            self._stored.set()

    def confirm_restoration(self, batch: Batch, *, entries: int) -> None:
        """Note that everything up to `batch` is in the log, in so many entries."""
        self.stored_entries = entries
        self.confirm(batch)

    def close(self) -> None:
        """Write nothing more: the log refused this owner, or the job is not in hand any more."""
        self._fenced = True
        self._is_lost = False
        self._pending.clear()
        self._kept.clear()
        self._stored.set()


class HeldJobLog(JobLog):
    """A log that keeps its terminal event back: whoever stores the job's end appends it when that is done."""

    terminal = b""  # kind and payload; empty: the job has not ended

    def append(self, kind: bytes, payload: bytes) -> int:
        """Add an event at the end, or if it is the terminal one remember it; see `JobLog.append`."""
        if kind not in TERMINAL_KINDS:
            return super().append(kind, payload)
        if self._fenced:
            raise FencedError(self.job_id)
        self.terminal = kind + payload
        self.has_ended = True
        return self.last_seq + 1


_Writing = tuple[JobLog, Batch, bool]
"""What of one log goes out in one pipeline; and whether everything that its owner has appended goes out instead."""


class TokenLogWriter:
    """Writes the logs of all jobs of one worker process, one pipeline at a time.

    Whatever the jobs append while a pipeline is in flight goes into the next one, so batches grow with load and an
    idle system adds no latency.

    Args:
        redis: A client without a read timeout, for the logs alone.

    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._ready: list[JobLog] = []
        self._calls: list[tuple[ScriptCall, asyncio.Future[Any]]] = []
        self._work = asyncio.Event()

    def open(
        self,
        *,
        job_id: str,
        epoch: int,
        last_seq: int,
        entries: int,
        channel: str,
        restore: Restore,
        holds_end: bool = False,
    ) -> JobLog:
        """Return the writing end for a job claimed with `epoch`, whose log has `entries` and ends at `last_seq`."""
        kind = HeldJobLog if holds_end else JobLog
        return kind(
            self, job_id=job_id, epoch=epoch, last_seq=last_seq, entries=entries, channel=channel, restore=restore
        )

    def schedule(self, log: JobLog) -> None:
        """Put `log` into the next batch."""
        self._ready.append(log)
        self._work.set()

    async def read_after(self, job_id: str, *, epoch: int, seq: int) -> list[Batch]:
        """Return the next entries of a log, as the function of this name does."""
        return await read_after(self._redis, job_id, epoch=epoch, seq=seq, most_entries=_ENTRIES_PER_LOG)

    async def execute(self, call: ScriptCall) -> Any:  # noqa: ANN401  whatever the script returns
        """Run a script after everything appended so far, and return its answer.

        It may run twice when a connection breaks, so twice must be as good as once; outages of Redis are waited out.

        Raises:
            ResponseError: Redis refused it.

        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls.append((call, answer))
        self._work.set()
        return await answer

    async def run(self) -> None:
        """Write until cancelled; outages of Redis are waited out and what the log lacks is appended again."""
        while True:
            await self._work.wait()
            self._work.clear()
            logs, self._ready = self._ready, []
            calls, self._calls = self._calls, []
            taken = [(log, *log.take()) for log in logs if log.has_pending]
            for backoff_s in _repeat_last(BACKOFF_S):
                try:
                    await self._write(taken, calls)
                    break
                except (RedisError, TimeoutError) as error:
                    _log.warning("log_write_failed", extra={"error": repr(error), "jobs": len(taken)})
                await asyncio.sleep(backoff_s)

    async def _write(self, taken: list[_Writing], calls: list[tuple[ScriptCall, asyncio.Future[Any]]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        publications: dict[bytes, list[bytes]] = {}
        for log, batch, restores in taken:
            if restores:
                pipeline.execute_command(*log.restoration())
            else:
                key, entry_id = redis_keys.LOG + batch.job_id, f"{batch.epoch}-{batch.last_seq}"
                pipeline.execute_command("XADD", key, "NOMKSTREAM", entry_id, "e", batch.events)
            if batch.events:
                publications.setdefault(log.channel, []).append(pack(batch))
        for channel, parts in publications.items():
            pipeline.execute_command("PUBLISH", channel, b"".join(parts))
        for call, _ in calls:
            pipeline.execute_command(*call.by_digest)
        # One deadline for all: redis-py's own would be a timer for every reply, 3 µs each.
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            replies = await pipeline.execute(raise_on_error=False)
        for writing, reply in zip(taken, replies, strict=False):
            if isinstance(reply, bytes):  # the id of the new entry
                writing[0].confirm(writing[1])
            else:
                await self._settle(writing, reply)
        for (call, answer), reply in zip(calls, replies[len(replies) - len(calls) :], strict=True):
            if isinstance(reply, NoScriptError):
                await self._execute_whole(call, answer)
            else:
                _resolve(answer, reply)

    async def _execute_whole(self, call: ScriptCall, answer: asyncio.Future[Any]) -> None:
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                reply: object = await self._redis.execute_command(*call.whole)
            _resolve(answer, reply)
        except ResponseError as error:
            _resolve(answer, error)

    async def _settle(self, writing: _Writing, reply: object) -> None:
        """See what to do about a writing that was a restoration, or was not done."""
        log, batch, restores = writing
        if isinstance(reply, ResponseError) and "equal or smaller" in str(reply):
            await self._settle_refusal(log, batch)
        elif isinstance(reply, Exception):
            raise reply
        elif not restores:
            log.restore()
        elif isinstance(reply, int) and reply:
            _log.warning("job_restored", extra={"job_id": log.job_id})
            log.confirm_restoration(batch, entries=reply)
        else:
            log.close()

    async def _settle_refusal(self, log: JobLog, batch: Batch) -> None:
        """Tell a second writing of our own entry, after a connection broke under the first, from a new owner."""
        newest = await self._redis.xrevrange(redis_keys.LOG + log.job_id, count=1)
        epoch, last_seq = _parse_id(newest[0][0]) if newest else (0, 0)
        if (epoch, last_seq) == (batch.epoch, batch.last_seq):
            log.confirm(batch)
        elif epoch > batch.epoch:
            log.close()
        else:
            log.restore()


def _resolve(answer: asyncio.Future[Any], reply: object) -> None:
    if answer.done():  # whoever asked has been cancelled
        return
    if isinstance(reply, Exception):
        answer.set_exception(reply)
    else:
        answer.set_result(reply)


def pack(batch: Batch) -> bytes:
    """Return `batch` as it is published."""
    header = HEADER.pack(batch.job_id.encode(), batch.epoch, batch.first_seq, batch.last_seq, len(batch.events))
    return header + batch.events


def unpack(message: bytes) -> Iterator[Batch]:
    """Yield the batches of one publication."""
    position, size = 0, HEADER.size
    while position < len(message):
        job_id, epoch, first_seq, last_seq, length = HEADER.unpack_from(message, position)
        position += size
        yield Batch(job_id.decode(), epoch, first_seq, last_seq, message[position : position + length])
        position += length


async def read_after(
    redis: Redis, job_id: str, *, epoch: int = 0, seq: int = 0, most_entries: int | None = None
) -> list[Batch]:
    """Return the entries after event `seq` of `epoch`; the first batch may begin with events up to `seq`.

    Returns:
        The batches in order, no more of them than asked for; empty when there is nothing newer, or no log (yet, or any
        more).

    """
    entries = await redis.xrange(redis_keys.LOG + job_id, min=f"({epoch}-{seq}", count=most_entries)
    return [_to_batch(job_id, entry_id, fields) for entry_id, fields in entries]


class Tail(NamedTuple):
    """How a log ends."""

    epoch: int
    last_seq: int  # 0: nothing has been sent yet
    has_ended: bool  # whether the last event is the terminal one


async def read_tail(redis: Redis, job_id: str) -> Tail | None:
    """Return how a job's log ends; None: there is none (yet, or any more)."""
    newest = await redis.xrevrange(redis_keys.LOG + job_id, count=1)
    if not newest:
        return None
    entry_id, fields = newest[0]
    batch = _to_batch(job_id, entry_id, fields)
    last_event = fields.get(b"l", b"") or batch.events.rpartition(b"\n")[2]  # a claim keeps a terminal one whole
    return Tail(batch.epoch, batch.last_seq, last_event[:1] in TERMINAL_KINDS)


async def wait_for_news(
    redis: Redis, places: Mapping[str, tuple[int, int]], *, wake: tuple[str, str], block_ms: int
) -> tuple[list[Batch], str]:
    """Wait until one of many logs grows, and return what is new in them.

    Args:
        redis: A client without a read timeout.
        places: By job id, the (epoch, seq) of the last entry that is known of it.
        wake: A stream that ends the wait, too, with the id of the last entry known of it.
        block_ms: The longest wait.

    Returns:
        The new entries of each log in order, and the id of the last entry of the waking stream.

    """
    wake_key, wake_id = wake
    streams = {redis_keys.LOG + id_: f"{epoch}-{seq}" for id_, (epoch, seq) in places.items()}
    news = await redis.xread({**streams, wake_key: wake_id}, count=_ENTRIES_PER_LOG, block=block_ms)
    batches: list[Batch] = []
    for key, entries in news:
        if key.decode() == wake_key:
            wake_id = entries[-1][0].decode()
            continue
        job_id = key.decode().removeprefix(redis_keys.LOG)
        batches += [_to_batch(job_id, entry_id, fields) for entry_id, fields in entries]
    return batches, wake_id


async def read_tails(redis: Redis, job_ids: Iterable[str]) -> list[tuple[int, int]]:
    """Return (epoch, last seq) of each job's log as it stands; (0, 0) for a log that does not exist."""
    pipeline = redis.pipeline(transaction=False)
    for job_id in job_ids:
        pipeline.xrevrange(redis_keys.LOG + job_id, count=1)
    tails: list[tuple[int, int]] = []
    for newest in await pipeline.execute():
        batch = _to_batch("", *newest[0]) if newest else None
        tails.append((batch.epoch, batch.last_seq) if batch else (0, 0))
    return tails


def _to_batch(job_id: str, entry_id: bytes, fields: dict[bytes, bytes]) -> Batch:
    epoch, last_seq = _parse_id(entry_id)
    events = fields.get(b"e", b"")
    if not events:
        last_seq = int(fields[b"s"])
        return Batch(job_id, epoch, last_seq + 1, last_seq, b"")
    return Batch(job_id, epoch, last_seq - events.count(b"\n"), last_seq, events)


def _parse_id(entry_id: bytes) -> tuple[int, int]:
    epoch, _, seq = entry_id.partition(b"-")
    return int(epoch), int(seq)


def _repeat_last(values: tuple[float, ...]) -> Iterator[float]:
    yield from values
    while True:
        yield values[-1]
