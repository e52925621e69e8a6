"""The table `sessions`: who has logged in where, from the login until it is revoked or has expired.

Times are the caller's clock: what is compared with them was written by it, or by another gateway's a moment apart.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import delete, func, insert, literal, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database.tables import sessions, users
from shared.database.users import User
from shared.ids import new_id

MAX_PER_USER = 100  # whoever logs in for each request must not fill the table; those unused for longest go
FIRST_GENERATION = 1

_FORGET_LOCK = 7_236_912_049_853_304  # any number that nobody else takes an advisory lock on


class Refreshed(Struct, frozen=True):
    """What came of a refresh."""

    user_id: str  # whose session it is
    was_reused: bool  # the token was spent before: the session is revoked now, and there is no successor


async def begin(connection: AsyncConnection, user: User, *, now: datetime, valid_s: float) -> str | None:
    """Begin a session that may be refreshed for `valid_s`, and return its id.

    None: since `user` was read the password has been changed, or they were disabled or deleted. A change of the
    password waits for this transaction, or this one for that, so that no session slips in that it does not see.
    """
    session_id = new_id()
    values = {
        "id": session_id,
        "user_id": user.id,
        "generation": FIRST_GENERATION,
        "created_at": now,
        "refreshed_at": now,
        "expires_at": now + timedelta(seconds=valid_s),
    }
    row = (
        select(*(literal(value, sessions.c[name].type) for name, value in values.items()))
        .select_from(users)
        .where(users.c.id == user.id, users.c.password_hash == user.password_hash, users.c.disabled_at.is_(None))
        .with_for_update(read=True, of=users)
    )
    result = await connection.execute(insert(sessions).from_select(list(values), row))
    if result.rowcount == 0:
        return None
    surplus = (
        select(sessions.c.id)
        .where(sessions.c.user_id == user.id)
        .order_by(sessions.c.refreshed_at.desc(), sessions.c.id.desc())
        .offset(MAX_PER_USER)
    )
    await connection.execute(delete(sessions).where(sessions.c.id.in_(surplus)))
    return session_id


async def refresh(
    connection: AsyncConnection, session_id: str, *, generation: int, now: datetime, valid_s: float, grace_s: float
) -> Refreshed | None:
    """Have the token after `generation` be the good one, at the latest now.

    However many ask for it at once, on however many gateways, one moves the session on. Within `grace_s` of that all
    are told the same; from then on, or when the successor has been spent as well, the token counts as stolen, and the
    session is revoked.

    Returns:
        Whose session it is; None: it does not exist (any more), or its user is in no good standing.

    """
    is_live = (
        sessions.c.id == session_id,
        sessions.c.revoked_at.is_(None),
        sessions.c.expires_at > now,
        users.c.id == sessions.c.user_id,
        users.c.disabled_at.is_(None),
    )
    advanced = await connection.execute(
        update(sessions)
        .where(*is_live, sessions.c.generation == generation)
        .values(generation=generation + 1, refreshed_at=now, expires_at=now + timedelta(seconds=valid_s))
        .returning(sessions.c.user_id)
    )
    if (user_id := advanced.scalar_one_or_none()) is not None:
        return Refreshed(user_id, was_reused=False)
    selected = select(sessions.c.user_id, sessions.c.generation, sessions.c.refreshed_at).where(*is_live)
    session = (await connection.execute(selected)).one_or_none()
    if session is None or session.generation <= generation:  # a database restored from a backup is behind its clients
        return None
    if session.generation == generation + 1 and now < session.refreshed_at + timedelta(seconds=grace_s):
        return Refreshed(session.user_id, was_reused=False)
    await revoke(connection, session_id, now=now)
    return Refreshed(session.user_id, was_reused=True)


async def revoke(connection: AsyncConnection, session_id: str, *, now: datetime) -> None:
    """End a session, if it has not ended."""
    await connection.execute(
        update(sessions).where(sessions.c.id == session_id, sessions.c.revoked_at.is_(None)).values(revoked_at=now)
    )


async def revoke_all(connection: AsyncConnection, user_id: str, *, but: str | None = None, now: datetime) -> list[str]:
    """End all of a user's sessions, but for one if its id is given, and return their ids."""
    statement = (
        update(sessions)
        .where(sessions.c.user_id == user_id, sessions.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(sessions.c.id)
    )
    if but is not None:
        statement = statement.where(sessions.c.id != but)
    return list((await connection.execute(statement)).scalars())


async def forget_expired(connection: AsyncConnection, *, now: datetime, limit: int) -> int:
    """Delete sessions that have expired; one process at a time does, and others return at once.

    Returns:
        How many were deleted; fewer than `limit`: there is nothing more to do.

    """
    lock = select(func.pg_try_advisory_xact_lock(literal_column(str(_FORGET_LOCK))))
    if not (await connection.execute(lock)).scalar_one():
        return 0
    expired = select(sessions.c.id).where(sessions.c.expires_at <= now).order_by(sessions.c.expires_at).limit(limit)
    return (await connection.execute(delete(sessions).where(sessions.c.id.in_(expired)))).rowcount
