"""What nobody else ends is ended by a gateway, for the reason for which it should have ended."""

import asyncio
import json
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from gateway.admission.sweeper import Sweeper
from shared import redis_keys
from shared.errors import JobCancelledError
from shared.job_queue import JobQueue
from shared.jobs import JobStatus
from shared.redis_client import connect
from tests.faults.proxy import FaultProxy
from tests.jobs import admit, claim_next, log_of, state_of
from tests.waiting import wait_until


@pytest.mark.parametrize("code", ["cancelled", "expired"])
async def test_a_job_whose_worker_is_gone(queue: JobQueue, redis: Redis, code: str) -> None:
    job = await admit(queue)
    await claim_next(queue)
    if code == "cancelled":
        stopped = await queue.stop(job.id, error=JobCancelledError("Stopped."), status=JobStatus.CANCELLED)
        assert stopped is not None
        assert stopped.status == "stopping"
    for due in (redis_keys.DEADLINES, redis_keys.RUNNING + job.model):  # as if the time had passed
        await redis.zadd(due, {job.id: 0})

    await Sweeper(queue).sweep()

    assert json.loads((await log_of(redis, job))[-1].payload)["error"]["code"] == code


async def test_readers_whose_gateway_could_not_reach_redis_are_not_gone(
    queue: JobQueue, redis: Redis, wire: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Their gateway says so when Redis is back: until then their leases have ended."""
    job = await admit(queue, unattended_ms=60_000)
    late = await admit(queue)
    async with connect(wire.url, role="test") as wired:
        wire.cut()
        work = asyncio.create_task(Sweeper(JobQueue(wired)).run())
        await wait_until(lambda: "sweep_failed" in caplog.messages, description="Redis is out of reach")
        await redis.zadd(redis_keys.ATTENDED, {job.id: 0})
        await redis.zadd(redis_keys.DEADLINES, {late.id: 0})
        wire.mend()

        async def has_been_swept() -> bool:
            return (await state_of(redis, late))["status"] == "expired"

        await wait_until(has_been_swept, description="the sweeper is at work again")
        assert (await state_of(redis, job))["status"] == "queued"
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
