"""Whose a credential is, over the tables `sessions`, `api_keys` and `users`: by one query of each kind at most."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ARRAY, ColumnElement, Row, Table, Uuid, any_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.credential import Credential, CredentialKind
from shared.database.tables import api_keys, sessions, users
from shared.database.users import Role


class Holder(Struct, frozen=True, kw_only=True):
    """Whoever may use a credential, and what it allows."""

    id: str  # of the credential
    user_id: str
    role: Role
    user_limits: Any  # as in `User.limits`
    expires_at: datetime | None  # None: never
    scopes: list[str] | None = None  # of an API key; None: it is a session, which may do everything
    models: list[str] | None = None  # of an API key; None: all
    key_limits: Any = None  # of an API key; None: it is a session


_WHOSE = (users.c.id.label("user_id"), users.c.role, users.c.limits.label("user_limits"))
_SELECTED: dict[CredentialKind, tuple[Table, tuple[ColumnElement[Any], ...]]] = {
    CredentialKind.SESSION: (sessions, (sessions.c.id, sessions.c.expires_at)),
    CredentialKind.KEY: (
        api_keys,
        (
            api_keys.c.id,
            api_keys.c.expires_at,
            api_keys.c.scopes,
            api_keys.c.models,
            api_keys.c.limits.label("key_limits"),
        ),
    ),
}


async def find(connection: AsyncConnection, credentials: Collection[Credential]) -> dict[Credential, Holder]:
    """Return the holders of those credentials that are not revoked and whose users are in good standing.

    One that has expired is among them: the clock that decides is the caller's.
    """
    found: dict[Credential, Holder] = {}
    for kind in CredentialKind:
        if ids := [credential.id for credential in credentials if credential.kind is kind]:
            found |= {Credential(kind, row.id): _to_holder(row) for row in await _rows(connection, kind, ids)}
    return found


async def _rows(connection: AsyncConnection, kind: CredentialKind, ids: list[str]) -> Collection[Row[Any]]:
    table, columns = _SELECTED[kind]
    parameter = bindparam("ids", ids, ARRAY(Uuid(as_uuid=False)))  # one, however many there are
    statement = (
        select(*columns, *_WHOSE)
        .join(users, users.c.id == table.c.user_id)
        .where(table.c.id == any_(parameter), table.c.revoked_at.is_(None), users.c.disabled_at.is_(None))
    )
    return (await connection.execute(statement)).all()


def _to_holder(row: Row[Any]) -> Holder:
    return msgspec.convert(row, Holder, from_attributes=True)
