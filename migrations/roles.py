"""The roles that the running processes log in as: they may work with rows, and make, change or drop nothing else.

What a role may do is granted anew after every migration, all of it and nothing that it could do before: a new table
is open to gateways and closed to workers until it is named here.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from migrations.settings import RoleSettings
from shared.database.engine import asyncpg_url
from shared.database.jobs import END_COLUMNS, METADATA_COLUMNS
from shared.database.tables import metadata
from shared.secret import Secret

_INSUFFICIENT_PRIVILEGE = "42501"
_SCRAM_ITERATIONS = 4096  # PostgreSQL's default; the passwords are random

_GATEWAY = tuple(f"SELECT, INSERT, UPDATE, DELETE ON {table.name}" for table in metadata.sorted_tables)

# It adds the rows of jobs that have ended, without answers, and of those that are there replaces how they ended: for
# that PostgreSQL wants it to see these columns, too. While it does, it locks their users against deletion, which takes
# the right to change some column of them: of this one nothing depends.
_END = ", ".join(END_COLUMNS)
_WORKER = (
    f"SELECT (id, {_END}), INSERT ({', '.join(METADATA_COLUMNS)}), UPDATE ({_END}) ON jobs",
    "SELECT (id), UPDATE (created_at) ON users",
)

_CLOSED_TO_ALL = (
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC",  # as before PostgreSQL 15, and in databases that are older
    "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
)
# Large objects are in no table, and so in nobody's way to fill the disk. Only a superuser can close them.
_CLOSED_IF_WE_MAY = (
    "REVOKE EXECUTE ON FUNCTION lo_create(oid), lo_creat(integer), lo_from_bytea(oid, bytea) FROM PUBLIC"
)


class RoleMissingError(Exception):
    """There is no such role, and we may not make one."""


class DatabaseRole(Struct, frozen=True):
    """Somebody who logs in."""

    name: str
    password: Secret  # empty: it logs in by a certificate or the like
    grants: tuple[str, ...]


def roles_of(settings: RoleSettings) -> list[DatabaseRole]:
    """Return the roles that the settings name.

    Raises:
        SettingsError: A URL is none.

    """
    wanted = ((settings.gateway_database_url, _GATEWAY), (settings.worker_database_url, _WORKER))
    urls = [(asyncpg_url(url), grants) for url, grants in wanted if url]
    return [DatabaseRole(url.username or "", Secret(url.password or ""), grants) for url, grants in urls]


def grant(connection: Connection, roles: Sequence[DatabaseRole]) -> None:
    """Let each role do exactly what it is to do; roles that are missing are made, with their passwords.

    Raises:
        RoleMissingError: One is missing, and we may not make it.

    """
    owner = connection.execute(text("SELECT current_user")).scalar_one()
    others = [role for role in roles if role.name != owner]
    if not others:
        return
    for statement in _CLOSED_TO_ALL:
        connection.execute(text(statement.format(database=_quoted(connection, _database(connection)))))
    _try(connection, _CLOSED_IF_WE_MAY)
    for role in others:
        _log_in(connection, role)
        name = _quoted(connection, role.name)
        for statement in (
            f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name}",
            f"GRANT USAGE ON SCHEMA public TO {name}",
            *(f"GRANT {allowed} TO {name}" for allowed in role.grants),
        ):
            connection.execute(text(statement))


def _log_in(connection: Connection, role: DatabaseRole) -> None:
    """Have the role be able to log in with its password; where that is for others to decide, leave it as it is."""
    exists = connection.execute(text("SELECT true FROM pg_roles WHERE rolname = :name"), {"name": role.name}).scalar()
    command = f"{'ALTER' if exists else 'CREATE'} ROLE {_quoted(connection, role.name)} LOGIN"
    if role.password:
        command += f" PASSWORD '{scram_verifier(role.password)}'"
    if not _try(connection, command) and not exists:
        raise RoleMissingError(role.name)


def _try(connection: Connection, command: str) -> bool:
    """Execute a command; False: we may not."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(command)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        return False
    return True


def scram_verifier(password: str) -> str:
    """Return what PostgreSQL keeps of a password (RFC 5803): no statement, and so no log, has the password itself."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    client_key, server_key = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    stored_key = hashlib.sha256(client_key).digest()
    salt, stored_key, server_key = (base64.b64encode(part) for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{salt.decode()}${stored_key.decode()}:{server_key.decode()}"


def _database(connection: Connection) -> str:
    return connection.execute(text("SELECT current_database()")).scalar_one()


def _quoted(connection: Connection, name: str) -> str:
    return connection.execute(text("SELECT quote_ident(:name)"), {"name": name}).scalar_one()
