"""The table `users`: who may use the gateway."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database.tables import users
from shared.errors import EmailTakenError
from shared.ids import new_id


class Role(StrEnum):
    """What a user may do."""

    USER = "user"  # everything with their own things
    ADMIN = "admin"  # and see and steer everybody's


class User(Struct, frozen=True):
    """One row."""

    id: str
    email: str  # lower case
    password_hash: str  # Argon2id
    role: Role
    created_at: datetime
    disabled_at: datetime | None  # since when nothing is let in any more; None: in good standing
    limits: Any  # what they may take, where it differs from the settings; whatever an operator wrote there


async def create(connection: AsyncConnection, *, email: str, password_hash: str, role: Role) -> User:
    """Insert a user and return it.

    Raises:
        EmailTakenError: There is one with this address.

    """
    statement = (
        insert(users)
        .values(id=new_id(), email=email, password_hash=password_hash, role=role)
        .on_conflict_do_nothing(index_elements=[users.c.email])
        .returning(users)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise EmailTakenError("There is an account with this e-mail address.", param="email")
    return _to_user(row)


async def find(connection: AsyncConnection, user_id: str) -> User | None:
    """Return the user with this id, also a disabled one; None: there is none."""
    rows = await connection.execute(select(users).where(users.c.id == user_id))
    row = rows.one_or_none()
    return None if row is None else _to_user(row)


async def find_by_email(connection: AsyncConnection, email: str) -> User | None:
    """Return the user with this address in lower case, also a disabled one; None: there is none."""
    rows = await connection.execute(select(users).where(users.c.email == email))
    row = rows.one_or_none()
    return None if row is None else _to_user(row)


async def keep(connection: AsyncConnection, user_ids: Collection[str]) -> None:
    """Keep users from being deleted until the end of the transaction; those who are gone stay gone."""
    statement = select(users.c.id).where(users.c.id.in_(user_ids)).order_by(users.c.id)
    await connection.execute(statement.with_for_update(read=True, key_share=True))


async def replace_password_hash(connection: AsyncConnection, user_id: str, *, old: str, new: str) -> bool:
    """Store a new hash; False: the password was changed since `old` was read, or there is no such user any more."""
    statement = update(users).where(users.c.id == user_id, users.c.password_hash == old).values(password_hash=new)
    return (await connection.execute(statement)).rowcount == 1


async def set_password_hash(connection: AsyncConnection, user_id: str, password_hash: str) -> None:
    """Store a new hash, whatever was there."""
    await connection.execute(update(users).where(users.c.id == user_id).values(password_hash=password_hash))


async def set_disabled(connection: AsyncConnection, user_id: str, *, since: datetime | None) -> User | None:
    """Let nothing of a user in any more, or again if `since` is None; who is disabled already stays so since then.

    Returns:
        The user; None: there is none.

    """
    disabled_at = None if since is None else func.coalesce(users.c.disabled_at, since)
    statement = update(users).where(users.c.id == user_id).values(disabled_at=disabled_at).returning(users)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _to_user(row)


async def list_all(connection: AsyncConnection, *, after: str | None, limit: int) -> list[User]:
    """Return users, the oldest first; those that are younger than the one with the id `after`, if one is given."""
    statement = select(users).order_by(users.c.id).limit(limit)
    if after is not None:
        statement = statement.where(users.c.id > after)
    return [_to_user(row) for row in await connection.execute(statement)]


async def remove(connection: AsyncConnection, user_id: str) -> None:
    """Delete a user and all that is theirs."""
    await connection.execute(delete(users).where(users.c.id == user_id))


def _to_user(row: Row[Any]) -> User:
    return msgspec.convert(row, User, from_attributes=True)
