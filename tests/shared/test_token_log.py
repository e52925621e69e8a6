"""The token log: each event once and in order, whatever breaks, and from one owner at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared import redis_keys
from shared.events import Event, EventKind
from shared.ids import new_id
from shared.job_queue import Claim, JobQueue
from shared.jobs import Job
from shared.redis_client import connect
from shared.restoration import ENTRY_BYTES
from shared.scripts import ScriptCall, prepare
from shared.token_log import (
    PENDING_LIMIT_BYTES,
    Batch,
    FencedError,
    JobLog,
    TokenLogWriter,
    pack,
    read_after,
    read_tails,
    unpack,
)
from tests.faults.proxy import FaultProxy
from tests.jobs import CHANNEL, MODEL, admit, claim_next, claim_of, log_of, make_job, open_log, taken_over, writing
from tests.key_leaks import immortal_keys
from tests.listening import listening
from tests.snapshot import Snapshot
from tests.waiting import wait_until

HANG_S = 20.0  # a limit for hanging, not an expectation
CHUNK = EventKind.CHUNK.value


@pytest.fixture
async def writer(redis: Redis) -> AsyncIterator[TokenLogWriter]:
    """A writer at work."""
    async with writing(redis) as writer:
        yield writer


@pytest.fixture
async def wired(wire: FaultProxy) -> AsyncIterator[TokenLogWriter]:
    """A writer at work whose connection, which is open, goes through `wire`."""
    async with connect(wire.url, role="test") as redis:
        await redis.ping()
        async with writing(redis) as writer:
            yield writer


def command(*words: str) -> ScriptCall:
    return prepare("return redis.call(unpack(ARGV))")([], words)


async def claimed(queue: JobQueue) -> Claim:
    """Return the claim of a new job."""
    await admit(queue)
    return await claim_next(queue)


async def entries_of(redis: Redis, claim: Claim) -> list[bytes]:
    """Return what the entries of a job's log hold, but for those of claims."""
    entries: Any = await redis.xrange(redis_keys.LOG + claim.job.id)
    return [fields[b"e"] for _, fields in entries if b"e" in fields]


def events(*payloads: bytes, first_seq: int = 1) -> list[Event]:
    """Return chunks as they should be read."""
    return [Event(seq, CHUNK, payload) for seq, payload in enumerate(payloads, first_seq)]


class TestWriting:
    async def test_numbers_events_from_one_and_keeps_their_order(
        self, queue: JobQueue, redis: Redis, writer: TokenLogWriter
    ) -> None:
        claim = await claimed(queue)
        log = open_log(writer, claim)

        assert [log.append(CHUNK, payload) for payload in (b"1", b"", b"3")] == [1, 2, 3]
        await log.stored()
        assert log.append(EventKind.DONE.value, b"4") == 4
        await log.stored()

        assert await log_of(redis, claim.job) == [*events(b"1", b"", b"3"), Event(4, EventKind.DONE.value, b"4")]
        assert (log.last_seq, log.size_bytes, log.has_ended) == (4, 3, True)

    async def test_goes_on_where_an_earlier_owner_ended(
        self, queue: JobQueue, redis: Redis, writer: TokenLogWriter
    ) -> None:
        claim = await claimed(queue)
        log = open_log(writer, claim)
        log.append(CHUNK, b"1")
        await log.stored()

        successor = open_log(writer, await taken_over(redis, claim))
        assert successor.append(CHUNK, b"2") == 2
        await successor.stored()

        assert await log_of(redis, claim.job) == events(b"1", b"2")

    async def test_stores_what_is_appended_in_one_tick_as_one_entry_per_job_and_one_publication_per_gateway(
        self, queue: JobQueue, redis: Redis, writer: TokenLogWriter
    ) -> None:
        claims = [await claimed(queue) for _ in range(3)]
        async with listening(redis, CHANNEL) as hear, listening(redis, "ds:gateway:other") as hear_other:
            channels = (CHANNEL, CHANNEL, "ds:gateway:other")
            logs = [open_log(writer, claim, channel=channel) for claim, channel in zip(claims, channels, strict=True)]
            for payload in (b"1", b"2"):
                for log in logs:
                    log.append(CHUNK, payload)
            for log in logs:
                await log.stored()
            heard, heard_by_other = list(unpack(await hear())), list(unpack(await hear_other()))

        assert [await entries_of(redis, claim) for claim in claims] == [[b"c1\nc2"]] * 3
        expected = [Batch(claim.job.id, claim.epoch, 1, 2, b"c1\nc2") for claim in claims]
        assert heard == expected[:2]
        assert heard_by_other == expected[2:]

    async def test_gathers_what_is_appended_while_a_pipeline_is_in_flight(
        self, queue: JobQueue, redis: Redis, wired: TokenLogWriter, wire: FaultProxy
    ) -> None:
        claim = await claimed(queue)
        log = open_log(wired, claim)
        wire.hold_replies()
        log.append(CHUNK, b"1")
        await wire.until_held()
        for payload in (b"2", b"3"):
            log.append(CHUNK, payload)
            await asyncio.sleep(0)
        wire.mend()
        await log.stored()

        assert await entries_of(redis, claim) == [b"c1", b"c2\nc3"]

    async def test_is_stored_only_when_everything_is(
        self, queue: JobQueue, redis: Redis, wired: TokenLogWriter, wire: FaultProxy
    ) -> None:
        claim = await claimed(queue)
        log = open_log(wired, claim)
        wire.hold_replies()
        log.append(CHUNK, b"1")
        await wire.until_held()
        log.append(CHUNK, b"2")
        wire.mend()
        await log.stored()

        assert await log_of(redis, claim.job) == events(b"1", b"2")

    async def test_waits_out_an_outage(
        self, queue: JobQueue, redis: Redis, wired: TokenLogWriter, wire: FaultProxy, caplog: pytest.LogCaptureFixture
    ) -> None:
        claim = await claimed(queue)
        log = open_log(wired, claim)
        wire.cut()
        log.append(CHUNK, b"1")
        length = asyncio.create_task(wired.execute(command("XLEN", redis_keys.LOG + claim.job.id)))
        await wait_until(lambda: "log_write_failed" in caplog.messages, description="the outage is noticed")
        log.append(CHUNK, b"2")
        wire.mend()
        await log.stored()

        assert await log_of(redis, claim.job) == events(b"1", b"2")
        assert await length >= 2  # the claim, and what was appended before it


class TestRoom:
    async def test_is_there_while_little_is_pending(self, redis: Redis) -> None:
        """Even if nothing at all is being written."""
        log = open_log(TokenLogWriter(redis), claim_of(make_job()))
        log.append(CHUNK, b"x" * PENDING_LIMIT_BYTES)

        async with asyncio.timeout(HANG_S):
            await log.room()

    async def test_is_there_again_when_redis_has_caught_up(
        self, queue: JobQueue, redis: Redis, wired: TokenLogWriter, wire: FaultProxy
    ) -> None:
        claim = await claimed(queue)
        log = open_log(wired, claim)
        wire.hold_replies()
        log.append(CHUNK, b"in flight")
        await wire.until_held()
        log.append(CHUNK, b"x" * (PENDING_LIMIT_BYTES + 1))

        room = asyncio.create_task(log.room())
        await asyncio.sleep(0)
        assert not room.done()

        wire.mend()
        await room
        assert len(await entries_of(redis, claim)) == 2


class TestALostOwner:
    async def test_is_refused_and_told(self, queue: JobQueue, redis: Redis, writer: TokenLogWriter) -> None:
        """Nothing of it is read, neither what was on its way nor what comes after."""
        claim = await claimed(queue)
        log = open_log(writer, claim)
        log.append(CHUNK, b"1")
        await log.stored()
        successor = open_log(writer, await taken_over(redis, claim))

        log.append(CHUNK, b"too late")
        with pytest.raises(FencedError):
            await log.stored()
        with pytest.raises(FencedError):
            log.append(CHUNK, b"too late")
        with pytest.raises(FencedError):
            await log.stored()
        with pytest.raises(FencedError):
            await log.room()

        successor.append(CHUNK, b"2")
        await successor.stored()
        assert await log_of(redis, claim.job) == events(b"1", b"2")

    async def test_is_told_while_it_waits_for_room(
        self, queue: JobQueue, redis: Redis, wired: TokenLogWriter, wire: FaultProxy
    ) -> None:
        claim = await claimed(queue)
        log = open_log(wired, claim)
        await taken_over(redis, claim)
        wire.hold_replies()
        log.append(CHUNK, b"in flight")
        await wire.until_held()
        log.append(CHUNK, b"x" * (PENDING_LIMIT_BYTES + 1))
        room = asyncio.create_task(log.room())
        wire.mend()

        with pytest.raises(FencedError):
            await room

    async def test_publishes_nothing_more_once_it_is_told(
        self, queue: JobQueue, redis: Redis, wired: TokenLogWriter, wire: FaultProxy
    ) -> None:
        claim = await claimed(queue)
        log = open_log(wired, claim)
        await taken_over(redis, claim)
        async with listening(redis, CHANNEL) as hear:
            wire.hold_replies()
            log.append(CHUNK, b"in flight")
            await wire.until_held()
            log.append(CHUNK, b"pending")
            wire.mend()
            with pytest.raises(FencedError):
                await log.stored()
            await wired.execute(command("PUBLISH", CHANNEL, "the next publication"))

            (in_flight,) = unpack(await hear())
            assert in_flight.events == b"cin flight"
            assert await hear() == b"the next publication"

    async def test_does_not_hold_up_the_others(self, queue: JobQueue, redis: Redis, writer: TokenLogWriter) -> None:
        lost, held = await claimed(queue), await claimed(queue)
        lost_log, held_log = open_log(writer, lost), open_log(writer, held)
        await taken_over(redis, lost)

        lost_log.append(CHUNK, b"too late")
        held_log.append(CHUNK, b"1")
        await held_log.stored()

        assert await log_of(redis, held.job) == events(b"1")
        assert await log_of(redis, lost.job) == []


class TestWhatRedisHasLost:
    """After everything was deleted, or is again as it was some time ago: a failover or a restart can cause both."""

    async def test_is_there_again_with_what_comes_next(
        self, queue: JobQueue, redis: Redis, writer: TokenLogWriter
    ) -> None:
        claim = await claimed(queue)
        log = open_log(writer, claim)
        for payload in (b"1", b"2"):
            log.append(CHUNK, payload)
            await log.stored()
        await redis.flushall()

        log.append(CHUNK, b"3")
        await log.stored()

        assert await log_of(redis, claim.job) == events(b"1", b"2", b"3")
        assert await immortal_keys(redis) == []

    async def test_is_there_again_also_when_something_newer_is(
        self, queue: JobQueue, redis: Redis, writer: TokenLogWriter
    ) -> None:
        """The gap shows in the number of entries, and could not be filled by appending."""
        claim = await claimed(queue)
        log = open_log(writer, claim)
        log.append(CHUNK, b"1")
        await log.stored()
        before = await Snapshot.of(redis)
        log.append(CHUNK, b"2")
        await log.stored()
        await before.bring_back()
        log.append(CHUNK, b"3")
        await log.stored()
        assert await log_of(redis, claim.job) == [*events(b"1"), *events(b"3", first_seq=3)]
        assert (await queue.heartbeat("worker", [(claim, log.stored_entries)])).answers == ["missing"]

        await log.restored()

        assert await log_of(redis, claim.job) == events(b"1", b"2", b"3")
        assert (await queue.heartbeat("worker", [(claim, log.stored_entries)])).answers == ["held"]
        log.append(CHUNK, b"4")
        await log.stored()
        assert (await queue.heartbeat("worker", [(claim, log.stored_entries)])).answers == ["held"]
        assert log.entries == await redis.xlen(redis_keys.LOG + claim.job.id)

    async def test_is_not_missed_because_of_writings_that_were_repeated(
        self, queue: JobQueue, redis: Redis, wired: TokenLogWriter, wire: FaultProxy
    ) -> None:
        claim = await claimed(queue)
        log = open_log(wired, claim)
        for payload in (b"1", b"2", b"3"):
            wire.cut_at_next_reply()
            log.append(CHUNK, payload)
            await wire.until_cut()
            wire.mend()
            await log.stored()

        assert log.stored_entries == log.entries == await redis.xlen(redis_keys.LOG + claim.job.id)

    async def test_is_left_to_a_new_owner(self, queue: JobQueue, redis: Redis, writer: TokenLogWriter) -> None:
        claim = await claimed(queue)
        log = open_log(writer, claim)
        log.append(CHUNK, b"1")
        await log.stored()
        await redis.flushall()
        await admit(queue, claim.job)
        successor = open_log(writer, await claim_next(queue, worker="successor"))
        successor.append(CHUNK, b"another 1")
        await successor.stored()

        with pytest.raises(FencedError):
            await log.restored()
        with pytest.raises(FencedError):
            log.append(CHUNK, b"2")
        assert await log_of(redis, claim.job) == events(b"another 1")

    async def test_comes_back_as_long_entries(self, queue: JobQueue, redis: Redis, writer: TokenLogWriter) -> None:
        claim = await claimed(queue)
        log = open_log(writer, claim)
        payloads = [b"%d" % number * 1000 for number in range(10, 99)]
        for payload in payloads:
            log.append(CHUNK, payload)
            await log.stored()
        await redis.flushall()

        await log.restored()

        assert await log_of(redis, claim.job) == events(*payloads)
        longest = max(map(len, await entries_of(redis, claim)))
        assert ENTRY_BYTES <= longest < ENTRY_BYTES + len(payloads[0]) + 10


class TestABrokenConnection:
    async def test_under_a_writing_that_was_done_repeats_nothing(
        self, queue: JobQueue, redis: Redis, wired: TokenLogWriter, wire: FaultProxy
    ) -> None:
        """The second writing is refused for its id, as a lost owner's is; but it is our own entry that is there."""
        claim = await claimed(queue)
        log = open_log(wired, claim)
        wire.cut_at_next_reply()
        log.append(CHUNK, b"1")
        await wire.until_cut()
        assert await entries_of(redis, claim) == [b"c1"]
        wire.mend()
        await log.stored()
        log.append(CHUNK, b"2")
        await log.stored()

        assert await log_of(redis, claim.job) == events(b"1", b"2")

    async def test_under_the_question_whose_entry_it_is_is_survived_too(
        self, queue: JobQueue, redis: Redis, wired: TokenLogWriter, wire: FaultProxy
    ) -> None:
        claim = await claimed(queue)
        log = open_log(wired, claim)
        for _ in range(3):
            wire.cut_at_next_reply()
            log.append(CHUNK, b"x")
            await wire.until_cut()
            wire.mend()
            await log.stored()

        assert await log_of(redis, claim.job) == events(b"x", b"x", b"x")

    async def test_does_not_hide_that_the_job_was_taken_meanwhile(
        self, queue: JobQueue, redis: Redis, wired: TokenLogWriter, wire: FaultProxy
    ) -> None:
        claim = await claimed(queue)
        log = open_log(wired, claim)
        wire.cut_at_next_reply()
        log.append(CHUNK, b"1")
        await wire.until_cut()
        successor = await taken_over(redis, claim)
        wire.mend()

        with pytest.raises(FencedError):
            await log.stored()
        assert successor.last_seq == 1
        assert await log_of(redis, claim.job) == events(b"1")


class TestAScript:
    async def test_runs_after_everything_appended_before_it(self, queue: JobQueue, writer: TokenLogWriter) -> None:
        claims = [await claimed(queue) for _ in range(2)]
        for claim in claims:
            open_log(writer, claim).append(CHUNK, b"1")

        lengths = [await writer.execute(command("XLEN", redis_keys.LOG + claim.job.id)) for claim in claims]

        assert lengths == [2, 2]  # the claim and the event

    async def test_that_is_refused_fails_for_its_caller_alone(
        self, queue: JobQueue, redis: Redis, writer: TokenLogWriter
    ) -> None:
        claim = await claimed(queue)
        log = open_log(writer, claim)
        log.append(CHUNK, b"1")
        echo = asyncio.create_task(writer.execute(command("ECHO", "heard")))
        with pytest.raises(ResponseError):
            await writer.execute(command("INCR", redis_keys.LOG + claim.job.id))

        assert await echo == b"heard"
        await log.stored()
        assert await log_of(redis, claim.job) == events(b"1")

    async def test_that_redis_forgot_is_sent_again(self, redis: Redis, writer: TokenLogWriter) -> None:
        await writer.execute(command("ECHO", "known now"))
        await redis.script_flush()

        echoes = [asyncio.create_task(writer.execute(command("ECHO", word))) for word in ("both", "heard")]

        assert await asyncio.gather(*echoes) == [b"both", b"heard"]

    async def test_whose_caller_has_gone_does_not_hold_up_the_others(self, writer: TokenLogWriter) -> None:
        gone = asyncio.create_task(writer.execute(command("ECHO", "gone")))
        await asyncio.sleep(0)
        gone.cancel()

        assert await writer.execute(command("ECHO", "heard")) == b"heard"


class TestReading:
    async def test_from_any_place_gives_what_comes_after_it(
        self, queue: JobQueue, redis: Redis, writer: TokenLogWriter
    ) -> None:
        claim = await claimed(queue)
        log = open_log(writer, claim)
        for payloads in ((b"1",), (b"2", b"3", b"4"), (b"5", b"6")):
            for payload in payloads:
                log.append(CHUNK, payload)
            await log.stored()
        everything = await log_of(redis, claim.job)
        assert everything == events(b"1", b"2", b"3", b"4", b"5", b"6")

        for seq in range(7):
            batches = await read_after(redis, claim.job.id, epoch=claim.epoch, seq=seq)
            read = [event for batch in batches for event in batch.split()]
            assert [event for event in read if event.seq > seq] == everything[seq:]
            assert len(batches) == [4, 2, 2, 2, 1, 1, 0][seq] - (seq == 0)  # not more than must be

    async def test_a_new_owner_reads_back_what_all_before_it_have_appended(
        self, queue: JobQueue, redis: Redis, writer: TokenLogWriter
    ) -> None:
        """However many entries that are, and whatever its claims have put between them."""
        claim = await claimed(queue)
        for _ in range(2):
            log = open_log(writer, claim)
            for _ in range(120):
                log.append(CHUNK, str(log.last_seq + 1).encode())
                await log.stored()
            claim = await taken_over(redis, claim)

        events = [event async for event in open_log(writer, claim).read_back()]

        assert events == [Event(seq, CHUNK, str(seq).encode()) for seq in range(1, 241)]

    async def test_a_log_that_is_not_there_gives_nothing(self, redis: Redis) -> None:
        missing = new_id()

        assert await read_after(redis, missing) == []
        assert await read_tails(redis, [missing]) == [(0, 0)]

    async def test_tails_tell_how_far_each_log_is(self, queue: JobQueue, redis: Redis, writer: TokenLogWriter) -> None:
        untouched, written, passed_on = [await claimed(queue) for _ in range(3)]
        for claim in (written, passed_on):
            log = open_log(writer, claim)
            log.append(CHUNK, b"1")
            log.append(CHUNK, b"2")
            await log.stored()
        successor = await taken_over(redis, passed_on)

        tails = await read_tails(redis, [claim.job.id for claim in (untouched, written, passed_on)])

        assert tails == [(untouched.epoch, 0), (written.epoch, 2), (successor.epoch, 2)]

    async def test_a_claim_is_read_as_the_beginning_of_its_epoch(
        self, queue: JobQueue, redis: Redis, writer: TokenLogWriter
    ) -> None:
        claim = await claimed(queue)
        log = open_log(writer, claim)
        log.append(CHUNK, b"1")
        await log.stored()
        async with listening(redis, CHANNEL) as hear:
            successor = await taken_over(redis, claim)
            (heard,) = unpack(await hear())

        begun = Batch(claim.job.id, successor.epoch, first_seq=2, last_seq=1, events=b"")
        assert await read_after(redis, claim.job.id, epoch=claim.epoch, seq=1) == [begun]
        assert heard == begun
        assert list(begun.split()) == []


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    payloads = st.binary(max_size=20).map(lambda payload: payload.replace(b"\n", b" "))
    events = draw(st.lists(st.tuples(st.sampled_from(EventKind), payloads), max_size=5))
    first_seq = draw(st.integers(1, 2**31))
    return Batch(
        job_id=str(draw(st.uuids())),
        epoch=draw(st.integers(1, 2**64 - 1)),
        first_seq=first_seq,
        last_seq=first_seq + len(events) - 1,
        events=b"\n".join(kind.value + payload for kind, payload in events),
    )


@given(sent=st.lists(batches(), max_size=5))
def test_a_publication_is_read_as_it_was_written(sent: Sequence[Batch]) -> None:
    assert list(unpack(b"".join(map(pack, sent)))) == sent
    for batch in sent:
        assert [event.seq for event in batch.split()] == list(range(batch.first_seq, batch.last_seq + 1))


class Follower:
    """A reader who goes on from where it was."""

    def __init__(self, redis: Redis, job_id: str, *, epoch: int = 0, seq: int = 0) -> None:
        self.events: list[Event] = []
        self.places = [(epoch, seq)]  # epoch and seq, wherever it has been
        self._redis = redis
        self._job_id = job_id

    async def read(self) -> list[Event]:
        """Read what is there, and return everything that was read so far."""
        epoch, seq = self.places[-1]
        for batch in await read_after(self._redis, self._job_id, epoch=epoch, seq=seq):
            self.events += [event for event in batch.split() if event.seq > seq]
            seq = max(seq, batch.last_seq)
            self.places.append((batch.epoch, seq))
        return self.events


class Owner:
    """A worker that has claimed the job, and may not know yet that another one has claimed it since."""

    def __init__(self, number: int, claim: Claim, log: JobLog) -> None:
        self.claim = claim
        self.appended: list[bytes] = []
        self._number = number
        self._log = log

    def append(self, count: int) -> None:
        """Append events that tell whose they are."""
        with suppress(FencedError):
            for _ in range(count):
                payload = b"owner %d, event %d" % (self._number, len(self.appended))
                self._log.append(CHUNK, payload)
                self.appended.append(payload)

    async def store(self) -> None:
        """Wait until everything is stored or refused."""
        with suppress(FencedError):
            await self._log.stored()


class Story:
    """One job that goes from worker to worker, while old and new ones append and followers read."""

    def __init__(self, redis: Redis, job: Job, writers: AsyncExitStack) -> None:
        self.owners: list[Owner] = []
        self.followers = [Follower(redis, job.id) for _ in range(2)]
        self._redis = redis
        self._queue = JobQueue(redis, lease_ms=1)
        self._writers = writers

    async def claim(self) -> None:
        """Have another worker claim the job as soon as the lease has ended."""
        worker = f"worker {len(self.owners)}"
        while not (claims := await self._queue.claim(worker, {MODEL: 1}, limit=1)):
            pass
        writer = await self._writers.enter_async_context(writing(self._redis))
        self.owners.append(Owner(len(self.owners), claims[0], open_log(writer, claims[0])))

    async def go_on(self, step: tuple[str, int, int]) -> None:
        """Do one thing."""
        match step:
            case ("append", which, count):
                self.owners[which % len(self.owners)].append(count)
            case ("store", which, _):
                await self.owners[which % len(self.owners)].store()
            case ("read", which, _):
                await self.followers[which % len(self.followers)].read()
            case _:
                await self.claim()

    async def end(self) -> None:
        """Have everything stored or refused, and then read."""
        for owner in self.owners:
            await owner.store()
        for follower in self.followers:
            await follower.read()


steps = st.tuples(st.sampled_from(["append", "append", "store", "read", "claim"]), st.integers(0, 3), st.integers(1, 3))


@given(steps=st.lists(steps, max_size=20))
@settings(max_examples=80, deadline=None)
async def test_each_event_is_read_once_and_in_order_whoever_claims_appends_and_reads_when(
    redis_server: str, steps: list[tuple[str, int, int]]
) -> None:
    """Up to a claim the old owner's events count, from then on the new one's alone, also for whoever is in between."""
    async with connect(redis_server, role="test") as redis, AsyncExitStack() as writers:
        await redis.flushall()
        job = await admit(JobQueue(redis))
        story = Story(redis, job, writers)
        await story.claim()
        for step in steps:
            await story.go_on(step)
        await story.end()

        log = await log_of(redis, job)
        assert_each_owner_wrote_its_part(story.owners, log)
        for follower in story.followers:
            assert follower.events == log
            for epoch, seq in follower.places:
                assert await Follower(redis, job.id, epoch=epoch, seq=seq).read() == log[seq:]


def assert_each_owner_wrote_its_part(owners: Sequence[Owner], log: Sequence[Event]) -> None:
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    ends = [*(owner.claim.last_seq for owner in owners[1:]), len(log)]
    for owner, end in zip(owners, ends, strict=True):
        part = [event.payload for event in log[owner.claim.last_seq : end]]
        assert part == owner.appended[: len(part)]
    last = owners[-1]
    assert len(last.appended) == len(log) - last.claim.last_seq
