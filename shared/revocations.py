"""Credentials that are let in no more, told to every gateway at once.

PostgreSQL is where a revocation is decided and stays; this is for gateways that believe what PostgreSQL said a while
ago. Structure: `ds:revoked:<credential>`, a string that is there while anybody may still do so, written by whoever
revokes. Gateways ask for it while PostgreSQL is out of reach; as long as it answers, the publication makes them forget
what they believed, and one that is lost costs FRESH_S.

A credential is named by its text form: `session:<id>`, `key:<id>`, or `user:<id>` for all that a user has.
"""

from collections.abc import Collection

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared import redis_keys, scripts
from shared.errors import StoreUnavailableError

FRESH_S = 5.0  # for so long a gateway believes PostgreSQL before it asks again
GRACE_S = 600.0  # for so long it goes on believing, asking here, when PostgreSQL cannot be asked
KEPT_MS = 900_000  # longer than the two together
RETRY_AFTER_S = 2.0

_USER = "user:"


class Revocations:
    """What is revoked, for all processes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._revoke = scripts.load(redis, "revoke")

    async def revoke(self, *credentials: str) -> None:
        """Have credentials let in no more, from now on by every gateway; call it when PostgreSQL has committed that.

        Safe to repeat.

        Raises:
            StoreUnavailableError: Redis is out of reach. Gateways notice within FRESH_S all the same, unless PostgreSQL
                goes away as well: so whoever asked should ask again.

        """
        if not credentials:
            return
        keys = [redis_keys.REVOKED + credential for credential in credentials]
        try:
            await self._revoke(keys, [KEPT_MS, redis_keys.REVOCATIONS_CHANNEL, *credentials])
        except RedisError as error:
            raise _out_of_reach() from error

    async def among(self, credentials: Collection[str]) -> set[str]:
        """Return those of the credentials that were revoked within KEPT_MS.

        Raises:
            StoreUnavailableError: Redis is out of reach.

        """
        if not credentials:
            return set()
        try:
            marks = await self._redis.mget([redis_keys.REVOKED + credential for credential in credentials])
        except RedisError as error:
            raise _out_of_reach() from error
        return {credential for credential, mark in zip(credentials, marks, strict=True) if mark is not None}


def everything_of(user_id: str) -> str:
    """Return the name of all credentials of a user, those included that nobody has thought of."""
    return f"{_USER}{user_id}"


def user_in(name: str) -> str | None:
    """Return whose credentials `name` stands for if it is a name of all of them; None: it is the name of one."""
    return name.removeprefix(_USER) if name.startswith(_USER) else None


def published(data: bytes) -> list[str]:
    """Return the credentials that a publication on `redis_keys.REVOCATIONS_CHANNEL` names."""
    return data.decode().split()


def _out_of_reach() -> StoreUnavailableError:
    return StoreUnavailableError("Credentials cannot be checked just now.", retry_after_s=RETRY_AFTER_S)
