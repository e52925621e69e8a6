"""The table `sessions`: who has logged in where, from the login until it is revoked or has expired."""

from datetime import timedelta

from sqlalchemy import func, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database.tables import sessions
from shared.ids import new_id


async def create(connection: AsyncConnection, user_id: str, *, valid_s: int) -> str:
    """Begin a session that may be refreshed for `valid_s`, and return its id."""
    session_id = new_id()
    await connection.execute(
        insert(sessions).values(id=session_id, user_id=user_id, expires_at=func.now() + timedelta(seconds=valid_s))
    )
    return session_id
