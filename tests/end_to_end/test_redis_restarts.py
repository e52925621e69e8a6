"""Redis dies under streams, and comes back, or another one in its place that has not received everything."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.databases import Databases
from tests.end_to_end.client import Client
from tests.end_to_end.stack import SLOTS, Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang
from tests.redis_pair import RedisPair, redis_pair
from tests.waiting import wait_until

WORDS = tuple(f"{number} " for number in range(200))


@pytest.fixture(scope="module")
async def servers(server_directory: Path) -> AsyncIterator[RedisPair]:
    """What the stack has for Redis."""
    async with redis_pair(server_directory) as servers:
        yield servers


@pytest.fixture(scope="module")
async def running_stack(
    databases: Databases, servers: RedisPair, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """A stack whose Redis is of its own."""
    async with databases.fresh() as database_url:
        logs = tmp_path_factory.mktemp("logs")
        async with Stack(redis=servers.logins, database_url=database_url, logs=logs) as stack:
            yield stack


async def test_killed_and_started_again(stack: Stack, servers: RedisPair) -> None:
    """Twice, under streams that flow, streams that are silent, and jobs that wait; every process lives."""
    gate = stack.gate()
    flowing, silent = stack.model(Answer(WORDS, step_ms=10)), stack.model(Answer((*WORDS[:5], Hang(gate), *WORDS[5:])))
    async with Readers(stack) as readers:
        await readers.begin(flowing, SLOTS + 2)
        begun = await readers.begin(silent, SLOTS + 2)
        await readers.until_told(begun[:SLOTS], 5)
        for _ in range(2):
            await servers.primary.kill()
            await servers.primary.start()
            await wait_until(lambda: is_reached(stack), description="Redis is reached again")
        stack.double.release(gate)

    for stream in readers.streams:
        assert_is_whole(stream)
    assert len(stack.generations(flowing)) == len(stack.generations(silent)) == SLOTS + 2
    await stack.until_served()


async def test_failed_over_to_a_replica_that_lagged(stack: Stack, servers: RedisPair) -> None:
    """What was acknowledged meanwhile is lost, and nothing of it to those who read: pieces of answers, claims, jobs."""
    lagging, failed_over = stack.gate(), stack.gate()
    early = stack.model(Answer((*WORDS[:5], Hang(lagging), *WORDS[5:50], Hang(failed_over), *WORDS[50:])))
    late = stack.model(Answer((*WORDS[:5], Hang(failed_over), *WORDS[5:])))
    await stack.add_worker()  # which could claim what the other one has in hand
    async with Readers(stack) as readers:
        early_readers = await readers.begin(early, SLOTS)
        await readers.until_told(early_readers, 5)
        await servers.follow()
        await servers.lag()
        stack.double.release(lagging)
        late_readers = await readers.begin(late, 2 * SLOTS + 2)
        await readers.until_told(late_readers[: 2 * SLOTS], 5)
        await readers.until_told(early_readers, 50)
        await servers.fail_over()
        stack.double.release(failed_over)

    for stream in readers.streams:
        assert_is_whole(stream)
    assert len(stack.generations(late)) == 2 * SLOTS + 2
    await stack.until_served()


class Readers:
    """Clients that read streams to their ends, inside the block and at all gateways of the stack."""

    def __init__(self, stack: Stack) -> None:
        self.streams: list[EventStream] = []
        self._stack = stack
        self._clients: list[Client] = []
        self._reading = asyncio.TaskGroup()

    async def begin(self, model: str, count: int) -> list[EventStream]:
        """Return streams that have been begun, in the order of the queue."""
        begun: list[EventStream] = []
        for _ in range(count):
            client = self._clients[len(self.streams) % len(self._clients)]
            has_begun: asyncio.Future[EventStream] = asyncio.get_running_loop().create_future()
            self._reading.create_task(_read(client, model, has_begun))
            begun.append(await has_begun)
            self.streams.append(begun[-1])
        return begun

    async def until_told(self, streams: Sequence[EventStream], chunks: int) -> None:
        """Return when each of these has so many chunks."""

        def told() -> bool:
            return all(len(stream.text.split()) >= chunks for stream in streams)

        await wait_until(told, description=f"{len(streams)} streams have {chunks} chunks")

    async def __aenter__(self) -> Self:
        self._clients = [await self._stack.client(gateway=gateway) for gateway in self._stack.gateways]
        await self._reading.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reading.__aexit__(kind, error, trace)


async def _read(client: Client, model: str, has_begun: asyncio.Future[EventStream]) -> None:
    async with client.stream(model) as stream:
        has_begun.set_result(stream)
        await stream.rest()


async def is_reached(stack: Stack) -> bool:
    """Tell whether every gateway reaches Redis."""
    answers = [await (await stack.client(gateway=gateway)).http.get("/health/ready") for gateway in stack.gateways]
    return all(answer.status_code == 200 for answer in answers)


def assert_is_whole(stream: EventStream) -> None:
    """Assert that each word came once and in order, as from a Redis that forgets nothing."""
    assert stream.text == "".join(WORDS)
    assert [event.id for event in stream.events if event.id] == [str(seq) for seq in range(1, len(WORDS) + 3)]
    assert stream.events[-1].json["done"]
