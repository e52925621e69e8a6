"""Who works here: what each live worker can serve, announced by the worker, read by the gateways.

Structures: `ds:worker:<id>` is the announcement as JSON, rewritten when it changes and at least every
ANNOUNCE_EVERY_S, expiring after ANNOUNCEMENT_TTL_S; `ds:workers` is a sorted set of worker ids by the end of their
lease (ms), which the heartbeat renews: alive means able to claim work now. `ds:models` is a sorted set of every model
by when it was last announced (ms): one that is not served just now but was within a day is known, and jobs for it
may wait.
"""

import msgspec
from msgspec import Raw, Struct
from redis.asyncio import Redis

from shared import redis_keys

ANNOUNCE_EVERY_S = 5.0
ANNOUNCEMENT_TTL_S = 20
KNOWN_FOR_MS = 24 * 3_600_000
FORGET_AFTER_MS = 30 * KNOWN_FOR_MS


class InMemory(Struct, frozen=True, omit_defaults=True):
    """How a model stands in memory."""

    size_bytes: int = 0  # in all
    size_vram_bytes: int = 0  # of it on the GPU
    context_length: int = 0  # tokens; 0: this Ollama does not say
    expires_at: str = ""  # when it leaves, as Ollama writes it; empty: it does not say


class ModelOffer(Struct, frozen=True, omit_defaults=True):
    """One model that a worker's Ollama has; what is known of its digest is in shared/model_descriptions.py."""

    name: str  # with tag
    digest: str
    size_bytes: int
    modified_at: str = ""  # as Ollama writes it, with nanoseconds and zone; empty: it does not say
    details: Raw = Raw(b"{}")  # format, family, sizes and the like, as Ollama writes them
    capabilities: tuple[str, ...] = ()
    memory: InMemory | None = None  # None: it has to be loaded first

    @property
    def loaded(self) -> bool:
        """Whether it answers without loading first."""
        return self.memory is not None


class Announcement(Struct, frozen=True):
    """What one worker says of itself."""

    id: str
    host: str  # the machine it runs on
    pid: int
    models: tuple[ModelOffer, ...]  # sorted by name; empty while its Ollama is out of reach
    slots: int  # jobs at once per model
    max_jobs: int  # jobs at once in all
    ollama_version: str
    draining: bool  # takes nothing new
    resting: tuple[str, ...] = ()  # models that it has and does not offer, because they fail there
    tasks: int = 0  # of its event loop


class Registry(Struct, frozen=True):
    """The workers alive at one moment."""

    workers: tuple[Announcement, ...]
    known_models: frozenset[str]  # announced within KNOWN_FOR_MS by anybody, alive or not

    def served_models(self) -> list[str]:
        """Return the names of all models that a live worker takes jobs for, sorted."""
        return sorted({offer.name for worker in self.workers if not worker.draining for offer in worker.models})

    def slots(self, model: str) -> int:
        """Return how many jobs of `model` can run at once."""
        return sum(
            min(worker.slots, worker.max_jobs)
            for worker in self.workers
            if not worker.draining and any(offer.name == model for offer in worker.models)
        )


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Announcement)


async def announce(redis: Redis, announcement: Announcement, *, lease_ms: int) -> None:
    """Publish what a worker offers, and count it among the living for `lease_ms` from now."""
    now_ms = await _redis_now_ms(redis)
    pipeline = redis.pipeline()
    pipeline.set(redis_keys.WORKER + announcement.id, _encoder.encode(announcement), ex=ANNOUNCEMENT_TTL_S)
    pipeline.zadd(redis_keys.WORKERS, {announcement.id: now_ms + lease_ms})
    if announcement.models:
        pipeline.zadd(redis_keys.MODELS, {offer.name: now_ms for offer in announcement.models})
        pipeline.zremrangebyscore(redis_keys.MODELS, "-inf", now_ms - FORGET_AFTER_MS)
    pipeline.publish(redis_keys.REGISTRY_CHANNEL, announcement.id)
    await pipeline.execute()


async def withdraw(redis: Redis, worker_id: str) -> None:
    """Take a worker off the list at once, because it stops."""
    pipeline = redis.pipeline()
    pipeline.zrem(redis_keys.WORKERS, worker_id)
    pipeline.delete(redis_keys.WORKER + worker_id)
    pipeline.publish(redis_keys.REGISTRY_CHANNEL, worker_id)
    await pipeline.execute()


async def read_registry(redis: Redis) -> Registry:
    """Return who is alive now and which models are known."""
    now_ms = await _redis_now_ms(redis)
    pipeline = redis.pipeline(transaction=False)
    pipeline.zrangebyscore(redis_keys.WORKERS, now_ms, "+inf")
    pipeline.zrangebyscore(redis_keys.MODELS, now_ms - KNOWN_FOR_MS, "+inf")
    worker_ids, models = await pipeline.execute()
    keys = [redis_keys.WORKER + worker_id.decode() for worker_id in worker_ids]
    announcements = await redis.mget(keys) if keys else []
    workers = tuple(_decoder.decode(text) for text in announcements if text is not None)
    return Registry(workers=workers, known_models=frozenset(model.decode() for model in models))


async def _redis_now_ms(redis: Redis) -> int:
    seconds, micros = await redis.time()
    return seconds * 1000 + micros // 1000
