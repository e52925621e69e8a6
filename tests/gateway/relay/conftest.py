"""The fixture of every test here."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.relay import Relay
from shared.job_queue import JobQueue
from shared.redis_client import connect
from tests.faults.proxy import FaultProxy
from tests.gateway.relay.bench import Bench, bench_for


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
