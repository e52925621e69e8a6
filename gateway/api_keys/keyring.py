"""The API keys of users: made, listed, revoked, and found again by what a request brings."""

import asyncio
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from gateway.access import SCOPES
from gateway.admission.limits import Limits, OwnLimits
from gateway.api_keys.key_format import digest, is_api_key, new_api_key, shown
from gateway.api_keys.schemas import ApiKeyPage, CreatedApiKey, NewApiKey, ShownApiKey
from gateway.paging import PageRequest
from shared import audit
from shared.audit import SecurityEvent
from shared.clock import Clock
from shared.credential import Credential, CredentialKind
from shared.database import api_keys
from shared.database.api_keys import ApiKey
from shared.database.engine import Database
from shared.errors import (
    InvalidRequestError,
    LimitAboveOwnersError,
    NotFoundError,
    StoreUnavailableError,
    UnauthenticatedError,
)
from shared.ids import is_id
from shared.revocations import Revocations

MOST_PER_USER = 100
LOOKED_UP_AT_ONCE = 4  # keys nobody has seen here; whoever tries out a thousand does not take every connection
LOOKUP_TIMEOUT_S = 2.0
UNPEPPERED = b"deepersensor"  # what digests are made with where the operator has set nothing

_END_OF_TIME_MS = 253_402_300_799_999  # what a datetime can hold


class Owner(Protocol):
    """Whom a key is made for."""

    @property
    def user_id(self) -> str:
        """Their id."""
        ...

    @property
    def limits(self) -> Limits:
        """What they may take themselves."""
        ...


class Keyring:
    """Knows every user's API keys.

    Args:
        database: Where they are.
        revocations: Where it is told that one is revoked.
        secret: `API_KEY_SECRET`; empty: there is none.
        clock: What says whether a key would have expired already.

    """

    def __init__(self, *, database: Database, revocations: Revocations, secret: str, clock: Clock) -> None:
        self._database = database
        self._revocations = revocations
        self._secret = secret.encode() or UNPEPPERED
        self._clock = clock
        self._lookups = asyncio.Semaphore(LOOKED_UP_AT_ONCE)

    async def make(self, owner: Owner, wanted: NewApiKey) -> CreatedApiKey:
        """Make a key for somebody.

        Raises:
            InvalidRequestError: It would have expired already.
            LimitAboveOwnersError: A limit of it would be above its owner's.
            TooManyApiKeysError: They have MOST_PER_USER.
            StoreUnavailableError: PostgreSQL is out of reach.

        """
        limits = wanted.limits or OwnLimits()
        if (above := limits.exceeds(owner.limits)) is not None:
            raise LimitAboveOwnersError("Your own limit is lower.", param=f"limits.{above}")
        key = new_api_key()
        async with self._database.transaction() as connection:
            row = await api_keys.create(
                connection,
                user_id=owner.user_id,
                name=wanted.name,
                prefix=shown(key),
                digest=digest(key, secret=self._secret),
                scopes=sorted(set(wanted.scopes or SCOPES)),
                models=None if wanted.models is None else sorted(set(wanted.models)),
                limits=msgspec.to_builtins(limits),
                expires_at=self._future(wanted.expires_at),
                at_most=MOST_PER_USER,
            )
        audit.record(SecurityEvent.KEY_CREATED, user_id=owner.user_id, credential=_credential(row.id))
        return CreatedApiKey(**_fields(row), key=key)

    async def page(self, query: Mapping[str, str], *, user_id: str) -> ApiKeyPage:
        """Return a page of a user's keys, as `limit` and `cursor` in a query ask for.

        Raises:
            InvalidRequestError: One of them has no such value.
            StoreUnavailableError: PostgreSQL is out of reach.

        """
        wanted = PageRequest.of(query)
        async with self._database.transaction() as connection:
            found = await api_keys.list_of_user(connection, user_id, before=wanted.before, limit=wanted.limit + 1)
        page, next_cursor = wanted.cut(found)
        return ApiKeyPage([ShownApiKey(**_fields(row)) for row in page], next_cursor)

    async def revoke(self, key_id: str, *, user_id: str) -> None:
        """Have a user's key let nobody in any more, anywhere. Safe to repeat.

        Raises:
            NotFoundError: They have no such key.
            StoreUnavailableError: PostgreSQL or Redis is out of reach; if it is Redis, the key is revoked all the same.

        """
        async with self._database.transaction() as connection:
            if not is_id(key_id) or not await api_keys.revoke(connection, key_id, user_id=user_id):
                raise NotFoundError("There is no such API key.")
        audit.record(SecurityEvent.KEY_REVOKED, user_id=user_id, credential=_credential(key_id))
        await self._revocations.revoke(str(_credential(key_id)))

    async def find(self, key: str) -> Credential:
        """Return the credential that a key is, also of one that is not good any more.

        Raises:
            UnauthenticatedError: There never was such a key.
            StoreUnavailableError: PostgreSQL is out of reach.

        """
        if not is_api_key(key):
            raise _unknown()
        wanted = digest(key, secret=self._secret)
        try:
            async with (
                asyncio.timeout(LOOKUP_TIMEOUT_S),
                self._lookups,
                self._database.transaction() as connection,
            ):
                found = await api_keys.find_id(connection, wanted)
        except TimeoutError:
            raise StoreUnavailableError(
                "API keys cannot be looked up just now.", retry_after_s=LOOKUP_TIMEOUT_S
            ) from None
        if found is None or not hmac.compare_digest(found[1], wanted):
            raise _unknown()
        return _credential(found[0])

    def _future(self, expires_at: datetime | None) -> datetime | None:
        if expires_at is None:
            return None
        expires_ms = (expires_at - datetime.fromtimestamp(0, UTC)).total_seconds() * 1000
        if not self._clock.now_ms() < expires_ms <= _END_OF_TIME_MS:
            raise InvalidRequestError("A time to come.", param="expires_at")
        return expires_at.astimezone(UTC)


def _credential(key_id: str) -> Credential:
    return Credential(CredentialKind.KEY, key_id)


def _fields(row: ApiKey) -> dict[str, Any]:
    return {**msgspec.structs.asdict(row), "limits": msgspec.convert(row.limits, OwnLimits)}


def _unknown() -> UnauthenticatedError:
    return UnauthenticatedError("The API key is not valid.")
