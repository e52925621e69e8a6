"""A reader that has missed something, or is slow, reads the log, and is live again when it has caught up."""

import asyncio
from contextlib import ExitStack

import pytest

from gateway.relay import BUFFER_LIMIT_BYTES
from tests.faults.proxy import FaultProxy
from tests.gateway.relay.bench import (
    HANG_S,
    Bench,
    ignore,
    rest_of,
)
from tests.jobs import MODEL, log_of
from tests.waiting import wait_until


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
