"""What tests of the relay work at: one relay, the answers of workers, and the line between them."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from redis.asyncio import Redis

from gateway.relay import HEARTBEAT, Reader, Relay
from shared.durable_queue import DurableQueue
from shared.events import Event, EventKind, Resumed, encode_payload
from shared.job_queue import Claim, JobQueue
from shared.jobs import Job
from shared.token_log import JobLog, TokenLogWriter
from tests.jobs import RETENTION_MS, admit, claim_next, open_log, taken_over, writing
from tests.listening import listening

HANG_S = 20.0  # a limit for hanging, not an expectation
CHUNK = EventKind.CHUNK.value
DONE = EventKind.DONE.value
ERROR = EventKind.ERROR.value


class Line:
    """What workers publish for a relay: heard from Redis, delivered when the test says."""

    def __init__(self, relay: Relay, redis: Redis) -> None:
        self.relay = relay
        self.heard: deque[bytes] = deque()
        self._redis = redis

    async def listen(self, stack: AsyncExitStack) -> None:
        """Hear everything from now on."""
        self._hear = await stack.enter_async_context(listening(self._redis, self.relay.channel))

    async def catch(self) -> bytes:
        """Return what has been published since, as one publication would bring it, without delivering it."""
        await self._redis.publish(self.relay.channel, b"")
        caught: list[bytes] = []
        while message := await self._hear():
            caught.append(message)
        return b"".join(caught)


class Answer:
    """A job's log as its worker writes it."""

    def __init__(self, log: JobLog, claim: Claim) -> None:
        self.claim = claim
        self._log = log

    @property
    def job(self) -> Job:
        """The job that is answered."""
        return self.claim.job

    async def write(self, *payloads: bytes) -> None:
        """Write chunks, as one entry and one publication."""
        for payload in payloads:
            self._log.append(CHUNK, payload)
        await self._log.stored()

    async def restart(self) -> None:
        """Write that the text so far is to be dropped."""
        self._log.append(EventKind.RESUMED.value, encode_payload(Resumed(attempt=1, mode="restarted")))
        await self._log.stored()

    async def put_back(self) -> None:
        """Have Redis have everything again that was written."""
        await self._log.restored()

    async def end(self, kind: bytes = DONE) -> None:
        """Write the terminal event."""
        self._log.append(kind, b"the end")
        await self._log.stored()


class Bench:
    """A relay with jobs that have been claimed, and everything a test does with them."""

    def __init__(self, redis: Redis, queue: JobQueue, relay: Relay, writer: TokenLogWriter, line: Line) -> None:
        self.redis = redis
        self.relay = relay
        self.line = line
        self._queue = queue
        self._writer = writer

    async def answer(self) -> Answer:
        """Return the answer of a new job, of which nothing is written yet."""
        await admit(self._queue, channel=self.relay.channel)
        return self.of(await claim_next(self._queue))

    def of(self, claim: Claim) -> Answer:
        """Return what an owner of a job writes."""
        return Answer(open_log(self._writer, claim), claim)

    async def deliver(self) -> None:
        """Deliver all that has been published since."""
        self.relay.deliver(await self.line.catch())

    async def enqueued_again(self, answer: Answer) -> Answer:
        """Return the answer as the next worker begins it when the job came back from PostgreSQL."""
        durable = DurableQueue(self.redis, stream_retention_ms=RETENTION_MS, answer_retention_ms=RETENTION_MS)
        await durable.enqueue(
            answer.job, channel=self.relay.channel, queue_timeout_ms=60_000, idempotency=None, is_again=True
        )
        return self.of(await claim_next(self._queue))

    async def next_owners(self, answer: Answer) -> Answer:
        """Return the answer in the hands of another worker."""
        return self.of(await taken_over(self.redis, answer.claim))


@asynccontextmanager
async def bench_for(redis: Redis, relay: Relay) -> AsyncGenerator[Bench]:
    async with writing(redis) as writer, AsyncExitStack() as stack:
        line = Line(relay, redis)
        await line.listen(stack)
        yield Bench(redis, JobQueue(redis), relay, writer, line)


@asynccontextmanager
async def watching(relay: Relay) -> AsyncGenerator[None]:
    """Have the relay watch inside the block."""
    task = asyncio.create_task(relay.watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def ignore(_: Sequence[Event]) -> None:
    """Observe nothing."""


async def rest_of(reader: Reader) -> list[Event]:
    """Return everything that the reader is shown until the end."""
    async with asyncio.timeout(HANG_S):
        return [event async for events in reader.events() for event in events]


def without_heartbeats(events: Sequence[Event]) -> list[Event]:
    """Return what a client would take for events."""
    return [event for event in events if event != HEARTBEAT]
