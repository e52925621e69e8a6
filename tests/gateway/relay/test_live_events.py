"""What is published reaches readers in order, and nothing stale, doubled or foreign does."""

import asyncio
from contextlib import ExitStack

import pytest

from shared.events import Event, EventKind
from shared.redis_client import connect
from shared.subscription import Subscription
from shared.token_log import FencedError
from tests.faults.proxy import FaultProxy
from tests.gateway.relay.bench import (
    CHUNK,
    DONE,
    ERROR,
    HANG_S,
    Bench,
    ignore,
    rest_of,
)
from tests.jobs import MODEL, log_of


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
