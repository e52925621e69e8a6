import pytest

from shared.database import users
from shared.database.engine import Database
from shared.database.users import Role, User
from shared.errors import EmailTakenError
from shared.ids import is_id, new_id


async def test_a_user_is_found_by_id_and_by_address(database: Database, ada: User) -> None:
    assert is_id(ada.id)
    assert ada.created_at.utcoffset() is not None
    assert (ada.role, ada.disabled_at) == (Role.USER, None)
    async with database.transaction() as connection:
        assert await users.find(connection, ada.id) == ada
        assert await users.find_by_email(connection, "ada@example.org") == ada


async def test_nobody_is_found_by_what_nobody_has(database: Database, ada: User) -> None:
    async with database.transaction() as connection:
        assert await users.find(connection, new_id()) is None
        assert await users.find_by_email(connection, ada.email.upper()) is None


async def test_an_address_is_taken_once(database: Database, ada: User) -> None:
    with pytest.raises(EmailTakenError):
        async with database.transaction() as connection:
            await users.create(connection, email=ada.email, password_hash="other", role=Role.ADMIN)
    async with database.transaction() as connection:
        assert await users.find(connection, ada.id) == ada


async def test_a_hash_is_replaced_only_if_it_is_still_the_one_that_was_read(database: Database, ada: User) -> None:
    async with database.transaction() as connection:
        await users.replace_password_hash(connection, ada.id, old="-", new="stronger")
        await users.replace_password_hash(connection, ada.id, old="-", new="late")
        changed = await users.find(connection, ada.id)
    assert changed is not None
    assert changed.password_hash == "stronger"
