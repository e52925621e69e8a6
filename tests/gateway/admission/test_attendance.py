"""Who reads and who has left is told to Redis as it is in the end, whatever comes and goes while it is being told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from gateway.admission.attendance import Attendance
from gateway.admission.sweeper import Sweeper
from gateway.relay import Relay
from shared.job_queue import JobQueue
from shared.redis_client import connect
from shared.redis_keys import READERS
from tests.faults.proxy import FaultProxy
from tests.jobs import admit
from tests.waiting import wait_until

GRACE_MS = 60_000


@pytest.fixture
async def relay(redis: Redis) -> Relay:
    return Relay(redis)


@pytest.fixture
async def attendance(relay: Relay, wire: FaultProxy) -> AsyncIterator[Attendance]:
    """At work, by a line that the test can break."""
    async with connect(wire.url, role="test") as wired:
        queue = JobQueue(wired)
        attendance = Attendance(queue, relay, Sweeper(queue))
        work = asyncio.create_task(attendance.run())
        yield attendance
        assert not work.done()
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def test_a_reader_who_comes_while_a_departure_is_told_is_there(
    queue: JobQueue, redis: Redis, relay: Relay, attendance: Attendance, wire: FaultProxy
) -> None:
    job = await admit(queue, channel=relay.channel, unattended_ms=GRACE_MS, grace_ms=GRACE_MS)
    wire.hold_replies()
    attendance.leave(job.id, grace_ms=GRACE_MS)
    await wire.until_held()

    entering = asyncio.create_task(attendance.enter(job.id, grace_ms=GRACE_MS))
    await asyncio.sleep(0)
    wire.mend()
    await entering

    async def is_attended() -> bool:
        return await redis.zscore(READERS + job.id, relay.channel) is not None

    await wait_until(is_attended, description="the reader is known")
