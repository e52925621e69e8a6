"""Whose a credential is, asked of PostgreSQL at most every few seconds.

The cache is this process's own. A holder is believed for FRESH_S, so that whoever is disabled or revoked is out
everywhere within that time. While PostgreSQL is out of reach, those it vouched for within GRACE_S go on.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from gateway.access import Access
from gateway.admission.limits import Limits, OwnLimits
from gateway.principal import Key, Principal
from shared.clock import Clock
from shared.credential import Credential
from shared.database import holders
from shared.database.engine import Database
from shared.database.holders import Holder
from shared.errors import StoreUnavailableError, UnauthenticatedError

FRESH_S = 5.0
GRACE_S = 600.0
RECHECK_TIMEOUT_S = 1.0  # for somebody known: a database that hangs must not hold every request up with it
MAX_ENTRIES = 10_000  # of about 500 bytes

_log = logging.getLogger(__name__)


class _Known(Struct):
    """Somebody PostgreSQL has vouched for; times are monotonic but for `expires_ms`."""

    principal: Principal
    expires_ms: int | None  # when the credential does, by the wall clock; None: never
    confirmed_s: float
    fresh_until_s: float


class Identities:
    """Finds principals by credential."""

    def __init__(self, *, database: Database, clock: Clock, limits: Limits | None) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._known: dict[Credential, _Known] = {}  # the longest unconfirmed first
        self._asking: dict[Credential, asyncio.Task[_Known]] = {}

    async def find(self, credential: Credential) -> Principal:
        """Return whose a credential is; no I/O within FRESH_S of the last time.

        Raises:
            UnauthenticatedError: It does not exist (any more), is revoked or has expired, or its user is disabled.
            StoreUnavailableError: PostgreSQL is out of reach, and has not vouched for it within GRACE_S.

        """
        known = self._known.get(credential)
        if known is None or self._clock.monotonic_s() >= known.fresh_until_s:
            asking = self._asking.get(credential)
            if asking is None:  # a hundred streams that start at once ask once
                asking = self._asking[credential] = asyncio.create_task(self._ask(credential, known))
                asking.add_done_callback(lambda task: self._asked(credential, task))
            known = await asyncio.shield(asking)
        if self._has_expired(known):
            raise UnauthenticatedError("The credential has expired.")
        return known.principal

    async def confirm(self, credentials: Collection[Credential]) -> set[Credential]:
        """Return those that are good still, by one query; from now on `find` knows it too.

        While PostgreSQL is out of reach that is whom it vouched for within GRACE_S.
        """
        if not credentials:
            return set()
        try:
            found = await self._load(credentials, timeout_s=RECHECK_TIMEOUT_S)
        except StoreUnavailableError:
            return {credential for credential in credentials if self._is_in_grace(credential)}
        for credential in credentials:
            self._known.pop(credential, None)
        remembered = {credential: self._remember(credential, holder) for credential, holder in found.items()}
        return {credential for credential, known in remembered.items() if not self._has_expired(known)}

    def _is_in_grace(self, credential: Credential) -> bool:
        known = self._known.get(credential)
        return known is not None and not self._has_expired(known) and self._clock.monotonic_s() <= _grace_ends_s(known)

    def _has_expired(self, known: _Known) -> bool:
        return known.expires_ms is not None and known.expires_ms <= self._clock.now_ms()

    def _asked(self, credential: Credential, task: asyncio.Task[_Known]) -> None:
        del self._asking[credential]
        if not task.cancelled():
            task.exception()  # those who waited may all be gone

    async def _ask(self, credential: Credential, known: _Known | None) -> _Known:
        try:
            found = await self._load([credential], timeout_s=RECHECK_TIMEOUT_S if known else None)
        except StoreUnavailableError:
            now_s = self._clock.monotonic_s()
            if known is None or now_s > _grace_ends_s(known):
                raise
            known.fresh_until_s = now_s + FRESH_S
            return known
        self._known.pop(credential, None)
        if credential not in found:
            raise UnauthenticatedError("The credential is not valid any more.")
        return self._remember(credential, found[credential])

    async def _load(
        self, credentials: Collection[Credential], *, timeout_s: float | None
    ) -> Mapping[Credential, Holder]:
        try:
            async with asyncio.timeout(timeout_s), self._database.transaction() as connection:
                return await holders.find(connection, credentials)
        except TimeoutError:
            raise StoreUnavailableError(
                "Users cannot be looked up just now.", retry_after_s=RECHECK_TIMEOUT_S
            ) from None

    def _remember(self, credential: Credential, holder: Holder) -> _Known:
        if len(self._known) >= MAX_ENTRIES:
            del self._known[next(iter(self._known))]
        now_s = self._clock.monotonic_s()
        known = self._known[credential] = _Known(
            self._to_principal(credential, holder),
            expires_ms=round(holder.expires_at.timestamp() * 1000) if holder.expires_at else None,
            confirmed_s=now_s,
            fresh_until_s=now_s + FRESH_S,
        )
        return known

    def _to_principal(self, credential: Credential, holder: Holder) -> Principal:
        return Principal(
            user_id=holder.user_id,
            role=holder.role,
            limits=Limits() if self._limits is None else _own(holder.user_limits, holder).over(self._limits),
            credential=credential,
            key=self._to_key(holder),
        )

    def _to_key(self, holder: Holder) -> Key | None:
        if holder.scopes is None:
            return None
        return Key(
            id=holder.id,
            scopes=frozenset(map(Access, holder.scopes)),
            models=None if holder.models is None else frozenset(holder.models),
            limits=Limits() if self._limits is None else _own(holder.key_limits or {}, holder).over(Limits()),
        )


def _own(limits: dict[str, Any], holder: Holder) -> OwnLimits:
    """Return what a row says; of one that somebody has written who did not know how, nothing."""
    try:
        return msgspec.convert(limits, OwnLimits)
    except msgspec.ValidationError as error:
        _log.warning("limits_unreadable", extra={"user_id": holder.user_id, "error": str(error)})
        return OwnLimits()


def _grace_ends_s(known: _Known) -> float:
    return known.confirmed_s + GRACE_S
