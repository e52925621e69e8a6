"""What is known of models: the answers of their Ollamas to `/api/show`, told by workers, read by gateways.

Structure: one string per digest, `ds:model:<digest>`, a JSON object whose fields are as Ollama wrote them. Written by
the first worker that finds it missing, so that no Ollama is asked twice; expires when the model has not been on offer
for TTL_MS, as long as it is known (shared/registry.py). A digest stands for weights, template, parameters and license
alike, so models of two names share a description when they are the same.
"""

from collections.abc import Collection, Mapping

import msgspec
from msgspec import Raw
from redis.asyncio import Redis

from shared import redis_keys
from shared.registry import KNOWN_FOR_MS

TTL_MS = KNOWN_FOR_MS
MOST_BYTES = 256 * 1024  # of a description: a thousand tensors, a license and a template have less than half of it

_DISPENSABLE = ("tensors", "projector_info", "license", "modelfile")  # what a description that is too long goes without

_encoder = msgspec.json.Encoder()


async def store(redis: Redis, digest: str, description: Mapping[str, Raw]) -> None:
    """Tell what is known of a digest."""
    await redis.set(redis_keys.MODEL + digest, _bounded(description), px=TTL_MS)


async def renew(redis: Redis, digests: Collection[str]) -> list[str]:
    """Keep descriptions for another TTL_MS, and return the digests that have none, in their order."""
    pipeline = redis.pipeline(transaction=False)
    for digest in digests:
        pipeline.pexpire(redis_keys.MODEL + digest, TTL_MS)
    return [digest for digest, is_there in zip(digests, await pipeline.execute(), strict=True) if not is_there]


async def read(redis: Redis, digest: str) -> bytes | None:
    """Return the description of a digest, a JSON object; None: nobody has told it yet."""
    return await redis.get(redis_keys.MODEL + digest)


def _bounded(description: Mapping[str, Raw]) -> bytes:
    """Return a description as it is kept; the whole of it, if it is not longer than MOST_BYTES."""
    kept = dict(description)
    the_longest_first = sorted(kept, key=lambda name: len(kept[name]), reverse=True)
    for name in (*_DISPENSABLE, *the_longest_first):
        if sum(map(len, kept.values())) <= MOST_BYTES:
            break
        kept.pop(name, None)
    return _encoder.encode(kept)
