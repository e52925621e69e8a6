from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, update

from shared.credential import Credential, CredentialKind
from shared.database import holders, users
from shared.database.engine import Database
from shared.database.tables import api_keys
from shared.database.tables import users as table
from shared.database.users import Role, User
from shared.ids import new_id
from tests.sessions import begin


@pytest.fixture
async def ada(database: Database) -> User:
    async with database.transaction() as connection:
        return await users.create(connection, email="ada@example.org", password_hash="-", role=Role.USER)


async def test_sessions_and_keys_are_found_together_with_what_they_allow(database: Database, ada: User) -> None:
    key_id, ends = new_id(), datetime.now(UTC) + timedelta(hours=1)
    async with database.transaction() as connection:
        await connection.execute(update(table).values(limits={"requests_per_minute": 7}))
        session = Credential(CredentialKind.SESSION, await begin(connection, ada, valid_s=60))
        await connection.execute(
            insert(api_keys).values(
                id=key_id, user_id=ada.id, name="CI", prefix="sk-ds-1", digest=b"1", scopes=["chat"], models=["m"],
                limits={"concurrent_jobs": 2}, expires_at=ends,
            )
        )  # fmt: skip
        key = Credential(CredentialKind.KEY, key_id)
        strangers = [Credential(CredentialKind.SESSION, key_id), Credential(CredentialKind.KEY, new_id())]
        found = await holders.find(connection, [session, key, *strangers])

    assert set(found) == {session, key}
    assert (found[session].user_id, found[session].scopes) == (ada.id, None)
    of_key = found[key]
    assert (of_key.user_id, of_key.scopes, of_key.models, of_key.expires_at) == (ada.id, ["chat"], ["m"], ends)
    assert (of_key.user_limits, of_key.key_limits) == ({"requests_per_minute": 7}, {"concurrent_jobs": 2})


async def test_what_is_revoked_is_nobodys(database: Database, ada: User) -> None:
    key = Credential(CredentialKind.KEY, new_id())
    async with database.transaction() as connection:
        await connection.execute(
            insert(api_keys).values(
                id=key.id, user_id=ada.id, name="CI", prefix="-", digest=b"1", scopes=[], revoked_at=func.now()
            )
        )
        assert await holders.find(connection, [key]) == {}


def test_a_credential_is_told_by_its_text_and_by_nothing_else() -> None:
    key = Credential(CredentialKind.KEY, new_id())
    assert Credential.parse(str(key)) == key
    for text in ("", "key:", f"user:{key.id}", f"key:{key.id} ", f"KEY:{key.id}", key.id, f"key:{key.id.upper()}"):
        assert Credential.parse(text) is None
