"""Announces workers as they announce themselves, and gives what a gateway then knows."""

from redis.asyncio import Redis

from gateway.models.catalog import ModelCatalog
from shared.registry import Announcement, ModelOffer, announce


async def catalog_of(redis: Redis, *workers: Announcement) -> ModelCatalog:
    """Return what a gateway knows when these workers live."""
    for worker in workers:
        await announce(redis, worker, lease_ms=60_000)
    catalog = ModelCatalog(redis, queue_without_workers=True)
    await catalog.renew()
    return catalog


def worker_with(
    id_: str, *offers: ModelOffer, version: str = "0.12.6", draining: bool = False, resting: tuple[str, ...] = ()
) -> Announcement:
    """Return what a worker with these models says of itself."""
    return Announcement(
        id=id_,
        host="host",
        pid=1,
        models=offers,
        slots=2,
        max_jobs=8,
        ollama_version=version,
        draining=draining,
        resting=resting,
    )
