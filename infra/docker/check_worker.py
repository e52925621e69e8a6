"""`python check_worker.py`: ends with 0 if the worker in this container can claim work now, else with 1.

A worker has no port. It is alive as long as it renews its lease in Redis, so that is what is looked at: a process that
hangs, or that has lost Redis, does not pass for healthy.
"""

import asyncio
import os
import signal
import socket
import sys

from redis.exceptions import RedisError

from shared.redis_client import connect
from shared.registry import read_registry
from shared.settings import RedisSettings, load, read_environment

LIMIT_S = 5  # under the timeout in docker-compose.yml, so that Docker counts a verdict and not a check that hung


async def is_alive(redis_url: str, host: str) -> bool:
    """Tell whether a worker on `host` is among the living ones."""
    async with connect(redis_url, role="healthcheck") as redis:
        try:
            registry = await read_registry(redis)
        except (RedisError, OSError):
            return False
    return any(worker.host == host for worker in registry.workers)


if __name__ == "__main__":
    # asyncio.run waits for the thread that asks a silent name server, whatever the deadline of the connection.
    signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(1))
    signal.alarm(LIMIT_S)
    url = load(RedisSettings, read_environment()).redis_url
    sys.exit(not asyncio.run(is_alive(url, socket.gethostname())))
