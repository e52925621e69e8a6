"""Sessions that tests begin without a login."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database import sessions
from shared.database.users import User


def now() -> datetime:
    """Return the time in the form that PostgreSQL takes."""
    return datetime.now(UTC)


async def begin(connection: AsyncConnection, user: User, *, valid_s: float = 86_400) -> str:
    """Begin a session of a user's and return its id."""
    session_id = await sessions.begin(connection, user, now=now(), valid_s=valid_s)
    assert session_id is not None
    return session_id
