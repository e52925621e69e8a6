"""Who a user id stands for, asked of PostgreSQL at most every few seconds.

The cache is this process's own. An identity is believed for FRESH_S, so that a user who is disabled is out everywhere
within that time. While PostgreSQL is out of reach, those it vouched for within GRACE_S go on.
"""

import asyncio
from collections.abc import Collection

from msgspec import Struct

from gateway.principal import Limits, Principal
from shared.clock import Clock
from shared.database import users
from shared.database.engine import Database
from shared.database.users import User
from shared.errors import StoreUnavailableError, UnauthenticatedError

FRESH_S = 5.0
GRACE_S = 600.0
RECHECK_TIMEOUT_S = 1.0  # for somebody known: a database that hangs must not hold every request up with it
MAX_ENTRIES = 10_000  # of about 500 bytes


class _Known(Struct):
    """A user PostgreSQL has vouched for; times are monotonic."""

    principal: Principal
    confirmed_s: float
    fresh_until_s: float


class Identities:
    """Finds principals by user id."""

    def __init__(self, *, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._known: dict[str, _Known] = {}  # the longest unconfirmed first
        self._asking: dict[str, asyncio.Task[Principal]] = {}

    async def find(self, user_id: str) -> Principal:
        """Return the user; no I/O within FRESH_S of the last time.

        Raises:
            UnauthenticatedError: There is no such user (any more), or they are disabled.
            StoreUnavailableError: PostgreSQL is out of reach, and has not vouched for them within GRACE_S.

        """
        known = self._known.get(user_id)
        if known is not None and self._clock.monotonic_s() < known.fresh_until_s:
            return known.principal
        asking = self._asking.get(user_id)
        if asking is None:  # a hundred streams that start at once ask once
            asking = self._asking[user_id] = asyncio.create_task(self._ask(user_id, known))
            asking.add_done_callback(lambda task: self._asked(user_id, task))
        return await asyncio.shield(asking)

    async def confirm(self, user_ids: Collection[str]) -> set[str]:
        """Return those of the users who are let in still, by one query; from now on `find` knows it too.

        While PostgreSQL is out of reach that is whom it vouched for within GRACE_S.
        """
        if not user_ids:
            return set()
        try:
            async with asyncio.timeout(RECHECK_TIMEOUT_S), self._database.transaction() as connection:
                found = await users.find_all(connection, user_ids)
        except (TimeoutError, StoreUnavailableError):
            oldest_s = self._clock.monotonic_s() - GRACE_S
            return {id_ for id_ in user_ids if (known := self._known.get(id_)) and known.confirmed_s >= oldest_s}
        for user_id in user_ids:
            self._known.pop(user_id, None)
        return {self._remember(user).user_id for user in found if user.disabled_at is None}

    def _asked(self, user_id: str, task: asyncio.Task[Principal]) -> None:
        del self._asking[user_id]
        if not task.cancelled():
            task.exception()  # those who waited may all be gone

    async def _ask(self, user_id: str, known: _Known | None) -> Principal:
        try:
            user = await self._load(user_id, timeout_s=RECHECK_TIMEOUT_S if known else None)
        except StoreUnavailableError:
            now_s = self._clock.monotonic_s()
            if known is None or now_s > known.confirmed_s + GRACE_S:
                raise
            known.fresh_until_s = now_s + FRESH_S
            return known.principal
        self._known.pop(user_id, None)
        if user is None or user.disabled_at is not None:
            raise UnauthenticatedError("The token is not valid any more.")
        return self._remember(user)

    async def _load(self, user_id: str, *, timeout_s: float | None) -> User | None:
        try:
            async with asyncio.timeout(timeout_s), self._database.transaction() as connection:
                return await users.find(connection, user_id)
        except TimeoutError:
            raise StoreUnavailableError(
                "Users cannot be looked up just now.", retry_after_s=RECHECK_TIMEOUT_S
            ) from None

    def _remember(self, user: User) -> Principal:
        principal = Principal(user_id=user.id, role=user.role, limits=self._limits)
        if len(self._known) >= MAX_ENTRIES:
            del self._known[next(iter(self._known))]
        now_s = self._clock.monotonic_s()
        self._known[principal.user_id] = _Known(principal, confirmed_s=now_s, fresh_until_s=now_s + FRESH_S)
        return principal
