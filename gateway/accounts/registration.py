"""Lets people sign up."""

from typing import Literal

from gateway.accounts.passwords import Passwords
from shared import audit
from shared.audit import SecurityEvent
from shared.database import users
from shared.database.engine import Database
from shared.database.users import Role, User
from shared.errors import ForbiddenError


class Registration:
    """Makes accounts."""

    def __init__(self, *, mode: Literal["open", "closed"], database: Database, passwords: Passwords) -> None:
        self._mode = mode
        self._database = database
        self._passwords = passwords

    async def sign_up(self, *, email: str, password: str) -> User:
        """Make an account for `email`, which is in lower case, and return it.

        Raises:
            ForbiddenError: Sign-up is closed here.
            InvalidRequestError: The password will not do.
            EmailTakenError: There is an account already.
            TryLaterError: Too many people sign up or log in just now.

        """
        if self._mode == "closed":
            raise ForbiddenError("Sign-up is closed here; ask an operator for an account.")
        self._passwords.check_new(password, email=email)
        password_hash = await self._passwords.hash(password)
        async with self._database.transaction() as connection:
            user = await users.create(connection, email=email, password_hash=password_hash, role=Role.USER)
        audit.record(SecurityEvent.SIGNED_UP, user_id=user.id)
        return user
