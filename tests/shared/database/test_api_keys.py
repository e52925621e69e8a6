import asyncio

import pytest
from sqlalchemy import text

from shared.database import api_keys
from shared.database.api_keys import ApiKey
from shared.database.engine import Database
from shared.database.users import User
from shared.errors import TooManyApiKeysError
from tests.waiting import wait_until


async def create(database: Database, user: User, *, digest: bytes, until: asyncio.Event | None = None) -> ApiKey:
    """Make the one key that the user may have, and commit it when `until` is set."""
    async with database.transaction() as connection:
        key = await api_keys.create(
            connection,
            user_id=user.id,
            name="only",
            prefix="sk-ds-0000",
            digest=digest,
            scopes=["chat"],
            models=None,
            limits={},
            expires_at=None,
            at_most=1,
        )
        if until is not None:
            await until.wait()
        return key


async def test_who_makes_two_keys_at_once_makes_them_one_after_the_other(database: Database, ada: User) -> None:
    commit = asyncio.Event()
    first = asyncio.create_task(create(database, ada, digest=b"1", until=commit))

    async def waits() -> bool:
        """Tell whether somebody waits for a lock that the first has."""
        async with database.transaction() as connection:
            return (await connection.execute(text("SELECT 1 FROM pg_locks WHERE NOT granted"))).first() is not None

    async def has_key() -> bool:
        """Tell whether the first has come to where it waits to commit."""
        async with database.transaction() as connection:
            locks = text("SELECT 1 FROM pg_locks WHERE relation = CAST('api_keys' AS regclass) AND mode LIKE 'Row%'")
            return (await connection.execute(locks)).first() is not None

    await wait_until(has_key, description="the first key is made, and not committed")
    second = asyncio.create_task(create(database, ada, digest=b"2"))

    async def has_come_to_a_halt() -> bool:
        return second.done() or await waits()

    await wait_until(has_come_to_a_halt, description="the second waits, or is through")
    commit.set()
    await first
    with pytest.raises(TooManyApiKeysError):
        await second
