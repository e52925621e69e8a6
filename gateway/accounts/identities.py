"""Whose a credential is, asked of PostgreSQL at most every few seconds.

The cache is this process's own. What PostgreSQL says is believed for FRESH_S, so that whoever is disabled or revoked is
out everywhere within that time, and at once where the publication of it is heard. While PostgreSQL is out of reach,
those it vouched for within GRACE_S go on, unless Redis, asked as often, says that they are revoked.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct

from gateway.access import Access
from gateway.admission.limits import LEAST, Limits, OwnLimits
from gateway.principal import Key, Principal
from shared.clock import Clock
from shared.credential import Credential
from shared.database import holders
from shared.database.engine import Database
from shared.database.holders import Holder
from shared.errors import StoreUnavailableError, UnauthenticatedError
from shared.model_names import whole_name
from shared.revocations import FRESH_S, GRACE_S, Revocations, everything_of, user_in

RECHECK_TIMEOUT_S = 1.0  # for somebody known: a database that hangs must not hold every request up with it
MAX_ENTRIES = 10_000  # of about 500 bytes

_log = logging.getLogger(__name__)


class _Known(Struct):
    """What PostgreSQL has said of a credential; times are monotonic but for `expires_ms`."""

    principal: Principal | None  # None: it lets nobody in
    expires_ms: int | None  # when the credential does, by the wall clock; None: never
    confirmed_s: float
    fresh_until_s: float


class Identities:
    """Finds principals by credential."""

    def __init__(self, *, database: Database, revocations: Revocations, clock: Clock, limits: Limits | None) -> None:
        self._database = database
        self._revocations = revocations
        self._clock = clock
        self._limits = limits
        self._known: dict[Credential, _Known] = {}  # the longest unconfirmed first
        self._asking: dict[Credential, asyncio.Task[_Known]] = {}

    async def find(self, credential: Credential) -> Principal:
        """Return whose a credential is; no I/O within FRESH_S of the last time.

        Raises:
            UnauthenticatedError: It does not exist (any more), is revoked or has expired, or its user is disabled.
            StoreUnavailableError: PostgreSQL is out of reach, and has not vouched for it within GRACE_S or Redis is out
                of reach as well.

        """
        known = self._known.get(credential)
        if known is None or self._clock.monotonic_s() >= known.fresh_until_s:
            asking = self._asking.get(credential)
            if asking is None:  # a hundred streams that start at once ask once
                asking = self._asking[credential] = asyncio.create_task(self._ask(credential))
                asking.add_done_callback(lambda task: self._asked(credential, task))
            known = await asyncio.shield(asking)
        if known.principal is None:
            raise UnauthenticatedError("The credential is not valid any more.")
        if self._has_expired(known):
            raise UnauthenticatedError("The credential has expired.")
        return known.principal

    async def confirm(self, credentials: Collection[Credential]) -> set[Credential]:
        """Return those that are good still, by one query; from now on `find` knows it too.

        Those that nobody can tell about are among them, if neither PostgreSQL nor Redis can be asked.
        """
        if not credentials:
            return set()
        try:
            known = await self._look_up(credentials, timeout_s=RECHECK_TIMEOUT_S)
        except StoreUnavailableError:
            return set(credentials)
        return {id_ for id_, said in known.items() if said.principal is not None and not self._has_expired(said)}

    def doubt(self, revoked: Iterable[str]) -> None:
        """Have credentials, named as in shared/revocations.py, looked up anew at their next use."""
        for name in revoked:
            for known in self._named(name):
                known.fresh_until_s = 0.0

    def _named(self, name: str) -> Iterator[_Known]:
        if (credential := Credential.parse(name)) in self._known:
            yield self._known[credential]
        if (user_id := user_in(name)) is not None:
            yield from (known for known in self._known.values() if _is_of(user_id, known))

    def _has_expired(self, known: _Known) -> bool:
        return known.expires_ms is not None and known.expires_ms <= self._clock.now_ms()

    def _asked(self, credential: Credential, task: asyncio.Task[_Known]) -> None:
        del self._asking[credential]
        if not task.cancelled():
            task.exception()  # those who waited may all be gone

    async def _ask(self, credential: Credential) -> _Known:
        timeout_s = RECHECK_TIMEOUT_S if credential in self._known else None
        known = await self._look_up([credential], timeout_s=timeout_s)
        if credential not in known:
            raise _out_of_reach()
        return known[credential]

    async def _look_up(
        self, credentials: Collection[Credential], *, timeout_s: float | None
    ) -> Mapping[Credential, _Known]:
        """Return what is to be believed of credentials, and remember it; what cannot be told is left out."""
        asked_s = self._clock.monotonic_s()
        try:
            found = await self._load(credentials, timeout_s=timeout_s)
        except StoreUnavailableError:
            return await self._believe(credentials)
        return {id_: self._remember(id_, found.get(id_), asked_s) for id_ in credentials}

    async def _load(
        self, credentials: Collection[Credential], *, timeout_s: float | None
    ) -> Mapping[Credential, Holder]:
        try:
            async with asyncio.timeout(timeout_s), self._database.transaction() as connection:
                return await holders.find(connection, credentials)
        except TimeoutError:
            raise _out_of_reach() from None

    async def _believe(self, credentials: Collection[Credential]) -> Mapping[Credential, _Known]:
        """Go by what PostgreSQL said within GRACE_S, and by what Redis knows of revocations since."""
        now_s = self._clock.monotonic_s()
        known = {id_: said for id_ in credentials if (said := self._known.get(id_)) is not None}
        believed = {id_: said for id_, said in known.items() if now_s <= said.confirmed_s + GRACE_S}
        revoked = await self._revocations.among({name for said in believed.values() for name in _names(said)})
        for said in believed.values():
            said.fresh_until_s = now_s + FRESH_S
            if not revoked.isdisjoint(_names(said)):
                said.principal = None
        return believed

    def _remember(self, credential: Credential, holder: Holder | None, asked_s: float) -> _Known:
        self._known.pop(credential, None)
        if len(self._known) >= MAX_ENTRIES:
            del self._known[next(iter(self._known))]
        known = self._known[credential] = _Known(
            self._to_principal(credential, holder) if holder else None,
            expires_ms=round(holder.expires_at.timestamp() * 1000) if holder and holder.expires_at else None,
            confirmed_s=asked_s,
            fresh_until_s=asked_s + FRESH_S,
        )
        return known

    def _to_principal(self, credential: Credential, holder: Holder) -> Principal:
        return Principal(
            user_id=holder.user_id,
            role=holder.role,
            limits=self._own(holder.user_limits, holder, over=self._limits or Limits()),
            credential=credential,
            key=self._to_key(holder),
        )

    def _to_key(self, holder: Holder) -> Key | None:
        if holder.scopes is None:
            return None
        return Key(
            id=holder.id,
            scopes=frozenset(map(Access, holder.scopes)),
            models=None if holder.models is None else frozenset(map(whole_name, holder.models)),
            limits=self._own({} if holder.key_limits is None else holder.key_limits, holder, over=Limits()),
        )

    def _own(self, said: object, holder: Holder, *, over: Limits) -> Limits:
        """Return what a row says; whoever wrote what cannot be read may have meant the least that there is."""
        try:
            limits = msgspec.convert(said, OwnLimits).over(over)
        except msgspec.ValidationError as error:
            _log.warning("limits_unreadable", extra={"user_id": holder.user_id, "error": str(error)})
            limits = LEAST
        return Limits(priority=limits.priority) if self._limits is None else limits


def _names(known: _Known) -> list[str]:
    """Return what it is called in shared/revocations.py, and what all is that its user has."""
    principal = known.principal
    return [] if principal is None else [str(principal.credential), everything_of(principal.user_id)]


def _is_of(user_id: str, known: _Known) -> bool:
    return known.principal is not None and known.principal.user_id == user_id


def _out_of_reach() -> StoreUnavailableError:
    return StoreUnavailableError("Users cannot be looked up just now.", retry_after_s=RECHECK_TIMEOUT_S)
