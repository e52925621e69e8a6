"""Idempotency keys: a client that is not sure whether a request has arrived sends it again, and gets the same job.

Structure: one string per key, `ds:idempotency:<digest>`, that holds the id of the job the key stands for and a
fingerprint of the request that became it (shared/scripts/idempotency.lua). Written by the admit and reserve scripts,
deleted when its job is cancelled because its readers have gone; expires after KEPT_MS, and its job stays for as long.
Both stand in the job's hash too, and with a durable job in PostgreSQL, whence a key that Redis has lost comes back
while its job lives. The key that the client chose is nowhere: it may be a secret of the client's.
"""

from hashlib import sha256
from typing import Self

from msgspec import Struct

from shared import redis_keys

KEPT_MS = 24 * 3_600_000


class Idempotency(Struct, frozen=True):
    """What makes two requests one: the same key, and then the same fingerprint as well."""

    key: str  # in Redis
    fingerprint: str  # without spaces

    @classmethod
    def of(cls, key: str, *, surface: str, user_id: str, request: bytes) -> Self:
        """Return what a client's key means.

        Args:
            key: As the client sent it.
            surface: Where; the same key elsewhere is another one.
            user_id: Whose key it is.
            request: What was understood of the body, in a form that is the same for all its spellings.

        """
        digest = sha256(f"{surface}\n{user_id}\n{key}".encode()).hexdigest()
        return cls(redis_keys.idempotency(digest), sha256(request).hexdigest())
