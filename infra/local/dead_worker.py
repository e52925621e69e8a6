"""Frees the jobs of a worker that has died on this machine: whoever saw it die need not wait for its leases to end."""

import socket

from redis.exceptions import RedisError

from shared import redis_client
from shared.job_queue import JobQueue
from shared.registry import read_registry


async def release_jobs(redis_url: str, pid: int) -> None:
    """End the leases of the worker that was the process `pid` here; with Redis away they end by themselves."""
    try:
        async with redis_client.connect(redis_url, role="supervisor") as redis:
            registry = await read_registry(redis)
            for worker in registry.workers:
                if (worker.host, worker.pid) == (socket.gethostname(), pid):
                    await JobQueue(redis).release(worker.id, [offer.name for offer in worker.models])
    except (RedisError, OSError):
        return
