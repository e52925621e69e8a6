"""What this worker is told through Redis: that there is work, and which jobs to stop."""

from collections.abc import Iterable

from redis.asyncio import Redis

from shared import redis_keys
from shared.subscription import Subscription
from worker.job_worker import JobWorker


class Mailbox:
    """Wakes the worker when a job for one of its models is enqueued, and stops jobs on demand.

    A lost message costs little: the worker looks for jobs every quarter of a second anyway, and the heartbeat repeats
    which jobs to stop. A lost connection is what a failover of Redis looks like from here.
    """

    def __init__(self, redis: Redis, worker: JobWorker, worker_id: str) -> None:
        self._worker = worker
        self._control_channel = redis_keys.control_channel(worker_id)
        self._subscription = Subscription(redis, on_message=self._open, on_lost=worker.hold_off)

    async def listen_for(self, models: Iterable[str]) -> None:
        """Be woken for these models from now on."""
        await self._subscription.follow([self._control_channel, *map(redis_keys.wake_channel, models)])

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._subscription.run()

    def _open(self, channel: str, data: bytes) -> None:
        if channel == self._control_channel:
            code, _, job_id = data.decode().partition(" ")
            self._worker.stop_job(job_id, code)
        else:
            self._worker.wake()
