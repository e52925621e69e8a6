"""The watch finds what nobody was told of, keeps connections warm, and looks after jobs that Redis lacks."""

import asyncio

import msgspec
import pytest

from gateway.relay import HEARTBEAT
from shared.ids import new_id
from shared.job_queue import JobQueue
from tests.faults.proxy import FaultProxy
from tests.gateway.relay.bench import (
    ERROR,
    HANG_S,
    Bench,
    ignore,
    rest_of,
    watching,
    without_heartbeats,
)
from tests.jobs import MODEL, admit, claim_next, log_of
from tests.waiting import wait_until


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
