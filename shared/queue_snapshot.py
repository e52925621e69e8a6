"""How full the queues are, and when workers were last heard, read in one round trip; changes nothing."""

from collections.abc import Iterable

from msgspec import Struct
from redis.asyncio import Redis

from shared import ids, redis_keys, scripts
from shared.job_queue import WORKER_LEASE_MS


class ModelQueue(Struct, frozen=True):
    """The jobs of one model."""

    model: str
    waiting: int
    delayed: int  # wait for their next attempt
    running: int
    oldest_ms: int  # since the oldest of `waiting` was admitted; 0: none waits


class QueueSnapshot(Struct, frozen=True):
    """All queues at one moment."""

    queues: tuple[ModelQueue, ...]
    unstored: int  # jobs that have ended, and PostgreSQL does not know it yet
    heartbeat_ages_ms: dict[str, int]  # by worker id; above WORKER_LEASE_MS the worker counts as dead


class Backlog(Struct, frozen=True):
    """What a new job of one model finds before it."""

    waiting: int
    running: int
    service_ms: int  # smoothed time a job of the model holds a slot; 0: none has been measured


async def read_backlog(redis: Redis, model: str) -> Backlog:
    """Return the backlog of a model, without looking at its jobs.

    Raises:
        RedisError: Redis is out of reach.

    """
    pipeline = redis.pipeline(transaction=False)
    pipeline.zcard(redis_keys.WAITING + model)
    pipeline.zcard(redis_keys.RUNNING + model)
    pipeline.hget(redis_keys.PACE + model, "service_ms")
    waiting, running, service_ms = await pipeline.execute()
    return Backlog(waiting, running, int(service_ms or 0))


class QueueReader:
    """Takes snapshots."""

    def __init__(self, redis: Redis) -> None:
        self._snapshot = scripts.load(redis, "snapshot")

    async def snapshot(self, models: Iterable[str]) -> QueueSnapshot:
        """Return the queues of `models` as they are now.

        Raises:
            RedisError: Redis is out of reach.

        """
        names = list(models)
        keys = [redis_keys.WORKERS, redis_keys.UNSTORED]
        for model in names:
            keys += [redis_keys.WAITING + model, redis_keys.DELAYED + model, redis_keys.RUNNING + model]
        now_ms, leases, unstored, *rows = await self._snapshot(keys, [])
        return QueueSnapshot(
            queues=tuple(_to_queue(model, row, now_ms) for model, row in zip(names, rows, strict=True)),
            unstored=unstored,
            heartbeat_ages_ms={
                worker.decode(): now_ms - (int(lease_end) - WORKER_LEASE_MS)
                for worker, lease_end in zip(leases[::2], leases[1::2], strict=True)
            },
        )


def _to_queue(model: str, row: tuple[int, int, int, bytes], now_ms: int) -> ModelQueue:
    waiting, delayed, running, oldest_id = row
    # The id was made by the gateway that admitted the job; its clock may be a little ahead.
    oldest_ms = max(0, now_ms - ids.created_ms(oldest_id.decode())) if oldest_id else 0
    return ModelQueue(model=model, waiting=waiting, delayed=delayed, running=running, oldest_ms=oldest_ms)
