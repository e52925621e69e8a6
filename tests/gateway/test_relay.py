"""The relay: what a reader is shown is the log, whole and in order, whatever becomes of the publications."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.relay import BUFFER_LIMIT_BYTES, HEARTBEAT, Reader, Relay
from shared.durable_queue import DurableQueue
from shared.events import Event, EventKind, Resumed, encode_payload
from shared.ids import new_id
from shared.job_queue import Claim, JobQueue
from shared.jobs import Job
from shared.redis_client import connect
from shared.subscription import Subscription
from shared.token_log import FencedError, JobLog, TokenLogWriter
from tests.faults.proxy import FaultProxy
from tests.jobs import MODEL, RETENTION_MS, admit, claim_next, log_of, open_log, taken_over, writing
from tests.listening import listening
from tests.snapshot import Snapshot
from tests.waiting import wait_until

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


@pytest.fixture
async def bench(queue: JobQueue, redis: Redis, wire: FaultProxy) -> AsyncIterator[Bench]:
    """A relay whose reading of logs goes through `wire`, and to which the test delivers what it hears."""
    del queue  # it sees to it that all keys expire
    async with (
        connect(wire.url, role="test") as wired,
        bench_for(
            redis, Relay(wired, silent_after_s=0.02, heartbeat_every_s=0.1, resubmit_after_s=0.05, lost_after_s=0.5)
        ) as bench,
    ):
        await wired.ping()
        yield bench


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


class TestLiveEvents:
    async def test_arrive_in_order_from_the_first_to_the_terminal_one(self, bench: Bench, redis_url: str) -> None:
        """By the subscription that a gateway has."""
        relay = bench.relay
        async with connect(redis_url, role="test", read_timeout_s=None) as redis:
            subscription = Subscription(redis, on_message=lambda _, data: relay.deliver(data))
            await subscription.follow([relay.channel])
            listens = asyncio.create_task(subscription.run())
            await subscription.confirmed.wait()
            answer = await bench.answer()
            with relay.read(answer.job.id, MODEL, ignore) as reader:
                shown = asyncio.create_task(rest_of(reader))
                for payloads in ((b"1",), (b"2", b"3"), (b"4",)):
                    await answer.write(*payloads)
                await answer.end()

                assert await shown == await log_of(bench.redis, answer.job)
            listens.cancel()
            await asyncio.gather(listens, return_exceptions=True)

    async def test_need_no_look_at_the_log(self, bench: Bench, wire: FaultProxy) -> None:
        wire.cut()
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            for payloads in ((b"1",), (b"2", b"3")):
                await answer.write(*payloads)
                await bench.deliver()
            await answer.end()
            await bench.deliver()

            assert await rest_of(reader) == await log_of(bench.redis, answer.job)

    @pytest.mark.parametrize("kind", [DONE, ERROR], ids=["a whole answer", "an error"])
    async def test_end_with(self, bench: Bench, kind: bytes) -> None:
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            await answer.write(b"1")
            await answer.end(kind)
            await bench.deliver()

            assert [event.kind for event in await rest_of(reader)] == [CHUNK, kind]
            assert reader.ended

    async def test_are_observed_just_before_they_are_shown(self, bench: Bench) -> None:
        observed: list[Event] = []
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, observed.extend) as reader:
            await answer.write(b"1", b"2")
            await bench.deliver()
            assert observed == []
            async with asyncio.timeout(HANG_S):
                assert await anext(reader.events()) == observed

    async def test_go_to_every_reader_of_the_job_and_to_nobody_else(self, bench: Bench) -> None:
        answers = [await bench.answer() for _ in range(2)]
        with ExitStack() as reading:
            groups = [
                [reading.enter_context(bench.relay.read(answer.job.id, MODEL, ignore)) for _ in range(3)]
                for answer in answers
            ]
            for number in range(3):
                for answer in answers:
                    await answer.write(b"%d of %s" % (number, answer.job.id.encode()))
            for answer in answers:
                await answer.end()
            await bench.deliver()

            for answer, readers in zip(answers, groups, strict=True):
                for reader in readers:
                    assert await rest_of(reader) == await log_of(bench.redis, answer.job)

    async def test_go_on_for_the_others_when_a_reader_leaves(self, bench: Bench) -> None:
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as stays:
            with bench.relay.read(answer.job.id, MODEL, ignore) as leaves:
                assert set(bench.relay.readers()) == {stays, leaves}
            await answer.end()
            await bench.deliver()

            assert await rest_of(stays) == await log_of(bench.redis, answer.job)
            assert leaves.seq == 0
        assert bench.relay.readers() == []


class TestPublications:
    async def test_that_come_again_are_dropped(self, bench: Bench) -> None:
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            publications: list[bytes] = []
            for payloads in ((b"1",), (b"2", b"3")):
                await answer.write(*payloads)
                publications.append(await bench.line.catch())
                for publication in (*publications, *publications):
                    bench.relay.deliver(publication)
            await answer.end()
            await bench.deliver()

            assert await rest_of(reader) == await log_of(bench.redis, answer.job)

    async def test_that_come_again_after_the_end_are_dropped(self, bench: Bench) -> None:
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            await answer.write(b"1")
            await answer.end()
            publications = await bench.line.catch()
            bench.relay.deliver(publications)
            shown = reader.events()
            async with asyncio.timeout(HANG_S):
                assert await anext(shown) == await log_of(bench.redis, answer.job)
                bench.relay.deliver(publications)
                assert [events async for events in shown] == []

    @pytest.mark.parametrize("lost", [0, 1, 2], ids=["the first", "one in the middle", "the last before the end"])
    async def test_that_are_lost_are_read_in_the_log(self, bench: Bench, lost: int) -> None:
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            for number, payloads in enumerate(((b"1",), (b"2", b"3"), (b"4",))):
                await answer.write(*payloads)
                publication = await bench.line.catch()
                if number != lost:
                    bench.relay.deliver(publication)
            await answer.end()
            await bench.deliver()

            assert await rest_of(reader) == await log_of(bench.redis, answer.job)

    async def test_of_a_lost_owner_are_dropped(self, bench: Bench) -> None:
        """What it wrote is not in the log; its publication has the number of an event that is still to come."""
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            await answer.write(b"1")
            successor = await bench.next_owners(answer)
            with pytest.raises(FencedError):
                await answer.write(b"too late")
            await bench.deliver()
            await successor.write(b"2")
            await successor.end()
            await bench.deliver()

            assert [event.payload for event in await rest_of(reader)] == [b"1", b"2", b"the end"]

    async def test_of_a_lost_owner_are_dropped_also_while_the_log_is_being_read(
        self, bench: Bench, wire: FaultProxy
    ) -> None:
        """The reader has not heard of the new owner; only the log can tell it."""
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            shown = asyncio.create_task(rest_of(reader))
            await answer.write(b"1")
            await bench.deliver()
            successor = await bench.next_owners(answer)
            await bench.line.catch()  # lost, with the connection
            with pytest.raises(FencedError):
                await answer.write(b"too late", b"too late")
            too_late = await bench.line.catch()
            wire.hold_replies()
            bench.relay.resubscribed()
            await wire.until_held()
            bench.relay.deliver(too_late)
            wire.mend()
            await successor.write(b"2")
            await successor.end()
            await bench.deliver()

            assert [event.payload for event in await shown] == [b"1", b"2", b"the end"]

    async def test_of_a_lost_owner_are_dropped_also_before_the_log_is_read(self, bench: Bench) -> None:
        """The reader has something to read yet, and then looks into the log."""
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            await answer.write(b"1")
            await bench.deliver()
            successor = await bench.next_owners(answer)
            await bench.line.catch()  # lost, with the connection
            bench.relay.resubscribed()
            with pytest.raises(FencedError):
                await answer.write(b"too late")
            await bench.deliver()
            await successor.write(b"2")
            await successor.end()
            await bench.deliver()

            assert [event.payload for event in await rest_of(reader)] == [b"1", b"2", b"the end"]

    async def test_that_come_while_the_log_is_being_read_are_shown_too(self, bench: Bench, wire: FaultProxy) -> None:
        """They may be too young for what is being read, and nobody comes back to them."""
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            shown = asyncio.create_task(rest_of(reader))
            await answer.write(b"1")
            await bench.line.catch()
            wire.hold_replies()
            bench.relay.resubscribed()
            await wire.until_held()
            await answer.write(b"2")
            await answer.end()
            await bench.deliver()
            wire.mend()

            assert await shown == await log_of(bench.redis, answer.job)

    async def test_of_a_new_owner_show_that_something_was_missed(self, bench: Bench) -> None:
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            await answer.write(b"1")
            await bench.line.catch()
            await bench.next_owners(answer)
            await bench.deliver()

            async with asyncio.timeout(HANG_S):
                assert await anext(reader.events()) == await log_of(bench.redis, answer.job)


class TestAReaderThatIsBehind:
    async def test_is_not_one_that_reads_along_however_much_comes(self, bench: Bench, wire: FaultProxy) -> None:
        wire.cut()
        piece = b"x" * (BUFFER_LIMIT_BYTES // 2)
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            shown = reader.events()
            async with asyncio.timeout(HANG_S):
                for _ in range(6):
                    await answer.write(piece)
                    await bench.deliver()
                    assert [event.payload for event in await anext(shown)] == [piece]
            await shown.aclose()

    async def test_because_it_is_slow_reads_the_rest_in_the_log(self, bench: Bench) -> None:
        """What waits for it in memory is bounded."""
        piece = b"x" * (BUFFER_LIMIT_BYTES // 4)
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            for _ in range(12):
                await answer.write(piece)
                await bench.deliver()
            await answer.end()
            await bench.deliver()

            async with asyncio.timeout(HANG_S):
                in_memory, *in_log = [events async for events in reader.events()]
            assert sum(len(event.payload) for event in in_memory) <= BUFFER_LIMIT_BYTES + len(piece)
            assert [*in_memory, *(event for events in in_log for event in events)] == await log_of(
                bench.redis, answer.job
            )

    async def test_is_live_again_when_it_has_caught_up(self, bench: Bench, wire: FaultProxy) -> None:
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            shown = reader.events()
            await answer.write(b"1")
            await bench.line.catch()
            bench.relay.resubscribed()
            async with asyncio.timeout(HANG_S):
                assert [event.payload for event in await anext(shown)] == [b"1"]
                wire.cut()
                await answer.write(b"2")
                await bench.deliver()
                assert [event.payload for event in await anext(shown)] == [b"2"]
            await shown.aclose()

    async def test_looks_into_the_log_when_the_subscription_is_made_anew(self, bench: Bench) -> None:
        answers = [await bench.answer() for _ in range(2)]
        with ExitStack() as reading:
            readers = [reading.enter_context(bench.relay.read(answer.job.id, MODEL, ignore)) for answer in answers]
            for answer in answers:
                await answer.write(b"1")
                await answer.end()
            bench.relay.resubscribed()

            for answer, reader in zip(answers, readers, strict=True):
                assert await rest_of(reader) == await log_of(bench.redis, answer.job)

    async def test_waits_while_redis_is_away(
        self, bench: Bench, wire: FaultProxy, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            shown = asyncio.create_task(rest_of(reader))
            await answer.write(b"1")
            await answer.end()
            wire.cut()
            bench.relay.resubscribed()
            await wait_until(lambda: "log_read_failed" in caplog.messages, description="the outage is noticed")
            wire.mend()

            assert await shown == await log_of(bench.redis, answer.job)


class TestALogThatHasLostAPart:
    async def test_is_read_on_when_its_owner_has_put_it_back(self, bench: Bench) -> None:
        """Until then nobody is shown what comes behind the gap."""
        answer = await bench.answer()
        before = await Snapshot.of(bench.redis)
        await answer.write(b"1")
        await before.bring_back()
        await answer.write(b"2")
        await bench.line.catch()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            shown = asyncio.create_task(rest_of(reader))
            reader.fall_behind()
            await wait_until(lambda: reader.missing_since_s is not None, description="the gap is noticed")
            assert reader.seq == 0
            await answer.put_back()
            await answer.end()
            await bench.deliver()

            assert await shown == await log_of(bench.redis, answer.job)
            assert [event.payload for event in shown.result()] == [b"1", b"2", b"the end"]

    async def test_for_good_ends_who_needs_it(self, bench: Bench) -> None:
        """The owner has the rest of the answer; what an earlier one said it does not know."""
        answer = await bench.answer()
        await answer.write(b"1", b"2")
        successor = await bench.next_owners(answer)
        await bench.line.catch()
        await bench.redis.flushall()
        await successor.put_back()
        await successor.write(b"3")
        await successor.end()
        with (
            bench.relay.read(answer.job.id, MODEL, ignore) as has_nothing,
            bench.relay.read(answer.job.id, MODEL, ignore, seq=2) as has_the_beginning,
        ):
            for reader in (has_nothing, has_the_beginning):
                reader.fall_behind()

            assert await rest_of(has_the_beginning) == await log_of(bench.redis, answer.job)
            (end,) = await rest_of(has_nothing)
        assert msgspec.json.decode(end.payload)["error"]["code"] == "job_lost"

    @pytest.mark.parametrize("hears", [True, False], ids=["hearing of it", "looking into the log"])
    async def test_ends_a_reader_when_another_owner_begins_before_what_was_read(
        self, bench: Bench, *, hears: bool
    ) -> None:
        """Under the same numbers it says something else: the two do not make one answer."""
        answer = await bench.answer()
        before = await Snapshot.of(bench.redis)
        await answer.write(b"1", b"2")
        await bench.deliver()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            await answer.write(b"3")
            reader.fall_behind()
            shown = reader.events()
            async with asyncio.timeout(HANG_S):
                assert [event.payload for event in await anext(shown)] == [b"1", b"2", b"3"]
                await before.bring_back()
                await bench.line.catch()
                successor = await bench.next_owners(answer)
                await successor.write(b"another 1", b"another 2", b"another 3", b"another 4")
                if hears:
                    await bench.deliver()
                else:
                    reader.fall_behind()
                (end,) = await anext(shown)

        assert msgspec.json.decode(end.payload)["error"]["code"] == "job_lost"


class TestADurableJobThatRedisHasLost:
    async def test_is_read_from_its_new_beginning(self, bench: Bench) -> None:
        """By whoever has a part of what was lost, and by whoever has nothing."""
        answer = await bench.answer()
        await answer.write(b"1", b"2")
        await bench.deliver()
        with (
            bench.relay.read(answer.job.id, MODEL, ignore) as attached,
            bench.relay.read(answer.job.id, MODEL, ignore) as new,
            bench.relay.read(answer.job.id, MODEL, ignore, seq=3) as comes_back,
        ):
            attached.fall_behind()
            shown = attached.events()
            async with asyncio.timeout(HANG_S):
                before = await anext(shown)
            await bench.redis.flushall()
            successor = await bench.enqueued_again(answer)
            new.fall_behind()
            comes_back.fall_behind()
            await successor.restart()
            await successor.write(b"another 1")
            await bench.deliver()
            await successor.end()
            await bench.deliver()
            log = await log_of(bench.redis, answer.job)

            async with asyncio.timeout(HANG_S):
                assert [event async for events in shown for event in events] == log
            assert await rest_of(new) == await rest_of(comes_back) == log
        assert [event.kind for event in log] == [EventKind.RESUMED.value, CHUNK, DONE]
        assert log[0].seq > before[-1].seq + 1

    async def test_ends_when_it_is_stopped_before_it_runs_again(self, bench: Bench) -> None:
        answer = await bench.answer()
        await answer.write(b"1", b"2")
        await bench.deliver()
        with bench.relay.read(answer.job.id, MODEL, ignore, seq=2) as reader:
            await bench.redis.flushall()
            successor = await bench.enqueued_again(answer)
            await successor.end(ERROR)
            reader.fall_behind()

            (end,) = await rest_of(reader)
        assert (end.kind, end.payload) == (ERROR, b"the end")

    async def test_is_waited_for(self, bench: Bench) -> None:
        """For longer than another job is; whether it will come is not in Redis."""
        answer = await bench.answer()
        await answer.write(b"1")
        await bench.deliver()
        async with watching(bench.relay):
            with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
                reader.is_durable = True
                reader.fall_behind()
                shown = reader.events()
                await bench.redis.flushall()
                await wait_until(lambda: reader.is_overdue, description="the job is missing for long")
                successor = await bench.enqueued_again(answer)
                await successor.restart()
                await successor.end()
                async with asyncio.timeout(HANG_S):
                    rest = [event async for events in shown for event in events]

                assert without_heartbeats(rest)[-2:] == await log_of(bench.redis, answer.job)
                assert reader.missing_since_s is None


async def test_a_notice_to_begin_with_comes_first_also_after_events_that_were_faster(bench: Bench) -> None:
    """As when a worker has begun before the gateway has heard that the job was admitted."""
    notice = Event(0, EventKind.QUEUED.value, b"{}")
    answer = await bench.answer()
    with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
        await answer.write(b"1")
        await bench.deliver()

        reader.begin_with(notice)

        async with asyncio.timeout(HANG_S):
            assert await anext(reader.events()) == [notice, *await log_of(bench.redis, answer.job)]


class TestTheWatch:
    async def test_finds_what_nobody_was_told_of(self, bench: Bench) -> None:
        answer = await bench.answer()
        async with watching(bench.relay):
            with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
                shown = asyncio.create_task(rest_of(reader))
                await answer.write(b"1")
                await wait_until(lambda: reader.seq == 1, description="the first event is found")
                await answer.end()

                assert without_heartbeats(await shown) == await log_of(bench.redis, answer.job)

    async def test_keeps_a_silent_stream_warm(self, bench: Bench) -> None:
        """However long it stays silent; heartbeats are no events of the log."""
        answer = await bench.answer()
        async with watching(bench.relay):
            with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
                shown = reader.events()
                async with asyncio.timeout(HANG_S):
                    assert [await anext(shown) for _ in range(3)] == [[HEARTBEAT]] * 3
                await answer.end()
                await bench.deliver()
                async with asyncio.timeout(HANG_S):
                    rest = [event async for events in shown for event in events]

                assert without_heartbeats(rest) == await log_of(bench.redis, answer.job)

    async def test_keeps_a_stream_warm_while_redis_is_away(self, bench: Bench, wire: FaultProxy) -> None:
        answer = await bench.answer()
        wire.cut()
        async with watching(bench.relay):
            with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
                async with asyncio.timeout(HANG_S):
                    assert await anext(reader.events()) == [HEARTBEAT]

    async def test_ends_a_reader_whose_job_redis_has_lost(self, bench: Bench) -> None:
        """Whatever it has been shown; for as long as a job may still be on its way into Redis, nothing is said."""
        answer = await bench.answer()
        await answer.write(b"1")
        await bench.deliver()
        async with watching(bench.relay):
            with (
                bench.relay.read(answer.job.id, MODEL, ignore) as answered,
                bench.relay.read(new_id(), MODEL, ignore) as waiting,
            ):
                await bench.redis.flushall()
                ends = [(await rest_of(reader))[-1] for reader in (answered, waiting)]

        for end in ends:
            assert (end.seq, end.kind) == (0, ERROR)
            assert msgspec.json.decode(end.payload)["error"]["code"] == "job_lost"

    async def test_has_a_job_enqueued_again_of_which_nothing_was_read(self, bench: Bench) -> None:
        """Again and again, until Redis has it; a reader who has a part of the answer needs the rest of just that."""
        answer = await bench.answer()
        resubmitted: list[str] = []

        async def refuse() -> None:
            pytest.fail("a job was enqueued again of which something was read")

        async def resubmit() -> None:
            resubmitted.append(answer.job.id)
            if len(resubmitted) == 2:
                await admit(JobQueue(bench.redis), answer.job, channel=bench.relay.channel)

        async with watching(bench.relay):
            with (
                bench.relay.read(answer.job.id, MODEL, ignore) as reader,
                bench.relay.read(answer.job.id, MODEL, ignore, seq=1) as has_a_part,
            ):
                reader.resubmit, has_a_part.resubmit = resubmit, refuse
                await bench.redis.flushall()
                shown = asyncio.create_task(rest_of(reader))
                await wait_until(lambda: len(resubmitted) == 2, description="the job is enqueued again")
                successor = bench.of(await claim_next(JobQueue(bench.redis)))
                await successor.write(b"1")
                await successor.end()

                assert without_heartbeats(await shown) == await log_of(bench.redis, answer.job)
        assert len(resubmitted) == 2

    async def test_leaves_a_reader_alone_that_has_the_end_and_is_slow_to_take_it(self, bench: Bench) -> None:
        """Its job may leave Redis meanwhile; a second end would follow the first."""
        answer = await bench.answer()
        with (
            bench.relay.read(answer.job.id, MODEL, ignore) as slow,
            bench.relay.read(new_id(), MODEL, ignore) as lost,
        ):
            await answer.end()
            await bench.deliver()
            log = await log_of(bench.redis, answer.job)
            await bench.redis.flushall()
            async with watching(bench.relay):
                assert (await rest_of(lost))[-1].kind == ERROR

            assert await rest_of(slow) == log

    async def test_survives_an_outage(self, bench: Bench, wire: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
        answer = await bench.answer()
        async with watching(bench.relay):
            with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
                await answer.end()
                wire.cut()
                await wait_until(lambda: "log_tails_unread" in caplog.messages, description="the outage is noticed")
                wire.mend()

                assert without_heartbeats(await rest_of(reader)) == await log_of(bench.redis, answer.job)

    async def test_does_not_trouble_a_reader_who_has_something_to_read(self, bench: Bench) -> None:
        answer = await bench.answer()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            await answer.write(b"1")
            await bench.deliver()
            reader.notify(HEARTBEAT)

            async with asyncio.timeout(HANG_S):
                assert await anext(reader.events()) == await log_of(bench.redis, answer.job)


def without_heartbeats(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event != HEARTBEAT]


class Journey:
    """One job that goes from owner to owner, with a reader who may pause, over a line that may break."""

    def __init__(self, bench: Bench, answer: Answer, reader: Reader) -> None:
        self.shown: list[Event] = []
        self._bench = bench
        self._owners = [answer]
        self._reader = reader
        self._under_way: deque[bytes] = deque()
        self._delivered: list[bytes] = []
        self._reads = asyncio.Event()
        self._reads.set()

    async def read(self) -> None:
        """Read to the end, with pauses."""
        async for events in self._reader.events():
            self.shown += events
            await self._reads.wait()

    async def go_on(self, step: str, number: int) -> None:
        """Do one thing."""
        match step:
            case "write":
                await self._write(self._owners[-number % len(self._owners)], number)
            case "take over":
                self._owners.append(await self._bench.next_owners(self._owners[-1]))
                self._under_way.append(await self._bench.line.catch())
            case "deliver":
                self._deliver(number)
            case "deliver again":
                for publication in self._delivered[-number:]:
                    self._bench.relay.deliver(publication)
            case "lose" if self._under_way and len(self._owners) == 1:
                self._under_way.popleft()
            case "break":
                self._under_way.clear()
                self._bench.relay.resubscribed()
            case "pause":
                self._reads.clear()
            case _:
                self._reads.set()

    def _deliver(self, number: int) -> None:
        for _ in range(min(number, len(self._under_way))):
            self._delivered.append(self._under_way.popleft())
            self._bench.relay.deliver(self._delivered[-1])

    async def end(self, *, is_heard: bool) -> None:
        """Write the terminal event, which the reader hears of or has to find."""
        await self._owners[-1].end()
        self._under_way.append(await self._bench.line.catch())
        self._reads.set()
        if is_heard:
            self._deliver(len(self._under_way))

    async def _write(self, owner: Answer, number: int) -> None:
        owner_number = self._owners.index(owner)
        with suppress(FencedError):
            await owner.write(*(b"%d of owner %d" % (i, owner_number) for i in range(number)))
        self._under_way.append(await self._bench.line.catch())


steps = st.sampled_from(
    [
        "write",
        "write",
        "write too late",
        "take over",
        "deliver",
        "deliver",
        "deliver again",
        "lose",
        "break",
        "pause",
        "-",
    ]
)


@given(steps=st.lists(st.tuples(steps, st.integers(1, 3)), max_size=20), is_heard=st.booleans())
@settings(max_examples=80, deadline=None)
async def test_each_event_is_shown_once_and_in_order_whatever_is_lost_late_or_said_twice(
    redis_server: str, *, steps: list[tuple[str, int]], is_heard: bool
) -> None:
    """Single publications are lost, or, as when a connection breaks, all that are under way; then the log is read."""
    async with (
        connect(redis_server, role="test") as redis,
        bench_for(redis, Relay(redis, silent_after_s=0.005)) as bench,
    ):
        await redis.flushall()
        answer = await bench.answer()
        await bench.deliver()
        with bench.relay.read(answer.job.id, MODEL, ignore) as reader:
            journey = Journey(bench, answer, reader)
            reading = asyncio.create_task(journey.read())
            for step, number in steps:
                await journey.go_on(step, number)
            await journey.end(is_heard=is_heard)
            async with watching(bench.relay):
                await reading

        assert journey.shown == await log_of(redis, answer.job)
