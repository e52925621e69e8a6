"""What nobody else ends is ended by a gateway, for the reason for which it should have ended."""

import json

import pytest
from redis.asyncio import Redis

from gateway.admission.sweeper import Sweeper
from shared import redis_keys
from shared.errors import JobCancelledError
from shared.job_queue import JobQueue
from shared.jobs import JobStatus
from tests.jobs import admit, claim_next, log_of


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
