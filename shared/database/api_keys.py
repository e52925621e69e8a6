"""The table `api_keys`: what a user's programs come in with.

A row stays when its key is revoked, so that usage can be told by the name that the key had.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ARRAY, Row, Uuid, any_, bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database.tables import api_keys, users
from shared.errors import TooManyApiKeysError, UnauthenticatedError
from shared.ids import new_id

NOTED_EVERY_S = 60  # so often at most is it written down that a key is used


class ApiKey(Struct, frozen=True, kw_only=True):
    """One row, but for what the key is found by."""

    id: str
    name: str
    prefix: str  # of the key itself
    scopes: list[str]
    models: list[str] | None  # None: all
    limits: dict[str, Any]  # where they are lower than the owner's
    created_at: datetime
    expires_at: datetime | None  # None: never
    last_used_at: datetime | None  # to the minute; None: never


_columns = [api_keys.c[name] for name in ApiKey.__struct_fields__]


async def create(
    connection: AsyncConnection,
    *,
    user_id: str,
    name: str,
    prefix: str,
    digest: bytes,
    scopes: Sequence[str],
    models: Sequence[str] | None,
    limits: dict[str, Any],
    expires_at: datetime | None,
    at_most: int,
) -> ApiKey:
    """Insert a key and return it.

    Raises:
        TooManyApiKeysError: The user has `at_most` keys that are not revoked.
        UnauthenticatedError: There is no such user any more.

    """
    owner = select(users.c.id).where(users.c.id == user_id).with_for_update(key_share=True)  # one key at a time
    if (await connection.execute(owner)).first() is None:
        raise UnauthenticatedError("The token is not valid any more.")
    kept = select(func.count()).where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    if (await connection.execute(kept)).scalar_one() >= at_most:
        raise TooManyApiKeysError(f"There can be {at_most} API keys; delete one that is not used any more.")
    values = {
        "id": new_id(),
        "user_id": user_id,
        "name": name,
        "prefix": prefix,
        "digest": digest,
        "scopes": scopes,
        "models": models,
        "limits": limits,
        "expires_at": expires_at,
    }
    row = await connection.execute(insert(api_keys).values(values).returning(*_columns))
    return _to_key(row.one())


async def find_id(connection: AsyncConnection, digest: bytes) -> tuple[str, bytes] | None:
    """Return id and digest of the key with this digest, also of one that is revoked; None: there is none."""
    row = await connection.execute(select(api_keys.c.id, api_keys.c.digest).where(api_keys.c.digest == digest))
    found = row.one_or_none()
    return None if found is None else (found.id, found.digest)


async def list_of_user(connection: AsyncConnection, user_id: str, *, before: str | None, limit: int) -> list[ApiKey]:
    """Return a user's keys that are not revoked, newest first; those older than the id `before`, if one is given."""
    statement = select(*_columns).where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    if before is not None:
        statement = statement.where(api_keys.c.id < before)
    rows = await connection.execute(statement.order_by(api_keys.c.id.desc()).limit(limit))
    return [_to_key(row) for row in rows]


async def ids_of_user(connection: AsyncConnection, user_id: str) -> list[str]:
    """Return the ids of all of a user's keys, revoked ones included."""
    return list((await connection.execute(select(api_keys.c.id).where(api_keys.c.user_id == user_id))).scalars())


async def names_of(connection: AsyncConnection, key_ids: Collection[str]) -> dict[str, str]:
    """Return the names of keys by id, also of those that are revoked."""
    statement = select(api_keys.c.id, api_keys.c.name).where(api_keys.c.id == any_(_ids(key_ids)))
    return {row.id: row.name for row in await connection.execute(statement)}


async def revoke(connection: AsyncConnection, key_id: str, *, user_id: str) -> bool:
    """Have a user's key let nobody in any more; False: they have no such key. Safe to repeat."""
    statement = (
        update(api_keys)
        .where(api_keys.c.id == key_id, api_keys.c.user_id == user_id)
        .values(revoked_at=func.coalesce(api_keys.c.revoked_at, func.now()))
    )
    return (await connection.execute(statement)).rowcount == 1


async def note_use(connection: AsyncConnection, key_ids: Collection[str]) -> None:
    """Write down that keys are being used, unless that was done within NOTED_EVERY_S."""
    long_ago = func.now() - timedelta(seconds=NOTED_EVERY_S)
    unnoted = (
        select(api_keys.c.id)
        .where(api_keys.c.id == any_(_ids(key_ids)))
        .where(or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < long_ago))
        .with_for_update(key_share=True, skip_locked=True)  # what is locked another gateway is noting just now
    )
    await connection.execute(update(api_keys).where(api_keys.c.id.in_(unnoted)).values(last_used_at=func.now()))


def _ids(key_ids: Collection[str]) -> Any:  # noqa: ANN401  one parameter, however many there are
    return bindparam("ids", list(key_ids), ARRAY(Uuid(as_uuid=False)))


def _to_key(row: Row[Any]) -> ApiKey:
    return msgspec.convert(row, ApiKey, from_attributes=True)
