"""Readers of a log of which Redis has lost all or a part."""

import asyncio

import msgspec
import pytest

from shared.events import EventKind
from tests.gateway.relay.bench import (
    CHUNK,
    DONE,
    ERROR,
    HANG_S,
    Bench,
    ignore,
    rest_of,
    watching,
    without_heartbeats,
)
from tests.jobs import MODEL, log_of
from tests.snapshot import Snapshot
from tests.waiting import wait_until


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
