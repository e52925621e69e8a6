"""What a reader is shown is the log, whole and in order, whatever becomes of the publications."""

import asyncio
from collections import deque
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.relay import Reader, Relay
from shared.events import Event
from shared.redis_client import connect
from shared.token_log import FencedError
from tests.gateway.relay.bench import (
    Answer,
    Bench,
    bench_for,
    ignore,
    watching,
)
from tests.jobs import MODEL, log_of


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
