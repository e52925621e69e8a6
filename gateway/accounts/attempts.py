"""Slows down whoever fails to prove who they are, by account and by address, the longer the more often they fail.

Structure: `ds:failures:<party>`, a hash (shared/scripts/failures.lua), and `ds:familiar:<account>@<address>`, a mark
that the account's password was right from there. Written by the scripts attempt and settle_attempt; a hash expires when
all its failures are forgotten, a mark after FAMILIAR_S. An account is named by a keyed digest of the e-mail address,
whether there is such an account or not: nobody learns which of the two, neither here nor by looking into Redis.

From where an account is familiar its failures are counted apart: strangers may use up what it has everywhere else, and
its owner still gets in.
"""

import hmac
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.admission.rate_limit import RETRY_WITHOUT_REDIS_S, address_name
from shared import audit, redis_keys, scripts
from shared.audit import SecurityEvent
from shared.errors import (
    DeeperSensorError,
    StoreUnavailableError,
    TooManyAttemptsError,
    UnauthenticatedError,
    WrongPasswordError,
)

FAMILIAR_S = 30 * 86_400
_FAILED = (UnauthenticatedError, WrongPasswordError)

_log = logging.getLogger(__name__)


class Patience(Struct, frozen=True):
    """How many failures of one party cost no wait, and how the wait grows after them."""

    free: int  # so many in a row
    forget_s: int  # one failure is forgotten after so long without another
    longest_s: int  # the wait never grows beyond this: 1 s, then twice as long with each further failure

    @property
    def arguments(self) -> tuple[int, int, int]:
        """As shared/scripts/failures.lua takes them."""
        return self.free, self.forget_s * 1000, self.longest_s * 1000


class Attempts:
    """Lets attempts to prove who one is go on, or has them wait.

    Args:
        redis: Where failures are counted.
        digest_key: Makes e-mail addresses unrecognisable; the same for all gateways.
        with_account: What an account is granted.
        with_address: What an address is granted, with whichever accounts.

    """

    def __init__(self, redis: Redis, *, digest_key: bytes, with_account: Patience, with_address: Patience) -> None:
        self._attempt = scripts.load(redis, "failures", "attempt")
        self._settle = scripts.load(redis, "failures", "settle_attempt")
        self._digest_key = digest_key
        self._arguments = (*with_address.arguments, *with_account.arguments)

    @asynccontextmanager
    async def one(self, *, address: str, email: str | None = None) -> AsyncGenerator[None]:
        """Give room for one attempt: inside the block it is found out who somebody is.

        The attempt counts as failed from before the block until after it, and stays so when the block says that the
        proof was wrong, or is cancelled; guesses that are made at once wait for each other as any others do. When the
        block ends well the account begins anew. What had other reasons to fail has not happened.

        Args:
            address: Where it comes from.
            email: Whom somebody wants to be, in lower case; None: that is not asked.

        Raises:
            TooManyAttemptsError: Too many have failed; this one is not counted.
            StoreUnavailableError: Redis is out of reach. Closed, because it may be so exactly under an attack.

        """
        keys = self._keys(address_name(address), email)
        counted = await self._begin(keys)
        settled = [keys[0], keys[counted - 1], keys[-1]] if counted else keys
        try:
            yield
        except _FAILED:
            raise
        except DeeperSensorError:
            await self._end(settled, is_proven=False)
            raise
        await self._end(settled, is_proven=True)

    def _keys(self, address: str, email: str | None) -> list[str]:
        """As shared/scripts/attempt.lua takes them."""
        of_address = f"{redis_keys.FAILURES}address:{address}"
        if email is None:
            return [of_address]
        account = hmac.digest(self._digest_key, email.encode(), "sha256").hex()
        return [
            of_address,
            f"{redis_keys.FAILURES}account:{account}",
            f"{redis_keys.FAILURES}account:{account}@{address}",
            f"{redis_keys.FAMILIAR}{account}@{address}",
        ]

    async def _begin(self, keys: Sequence[str]) -> int:
        try:
            wait_ms, by, counted = await self._attempt(keys, self._arguments)
        except RedisError as error:
            raise StoreUnavailableError(
                "Attempts cannot be counted just now.", retry_after_s=RETRY_WITHOUT_REDIS_S
            ) from error
        if wait_ms:
            audit.record(SecurityEvent.LOGIN_LOCKED, party="address" if by == 1 else "account")
            raise TooManyAttemptsError(
                f"Too many attempts {'from this address' if by == 1 else 'for this account'} failed or are under way.",
                retry_after_s=wait_ms / 1000,
            )
        return counted

    async def _end(self, keys: Sequence[str], *, is_proven: bool) -> None:
        try:
            await self._settle(keys, [int(is_proven), FAMILIAR_S * 1000])
        except RedisError as error:  # then one failure too many is remembered, for a while
            _log.warning("attempt_unsettled", extra={"error": str(error)})
