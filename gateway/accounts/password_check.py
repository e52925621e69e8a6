"""Finds out whether somebody is who they say they are, by their password, as often as that may be tried."""

from gateway.accounts.attempts import Attempts
from gateway.accounts.passwords import Passwords
from shared import audit
from shared.audit import SecurityEvent
from shared.database import users
from shared.database.engine import Database
from shared.database.users import User
from shared.errors import UnauthenticatedError, WrongPasswordError


class PasswordCheck:
    """Checks passwords against accounts.

    Args:
        database: Where users are.
        passwords: Hashes.
        attempts: Slows down who guesses.

    """

    def __init__(self, *, database: Database, passwords: Passwords, attempts: Attempts) -> None:
        self._database = database
        self._passwords = passwords
        self._attempts = attempts

    async def log_in(self, *, email: str, password: str, address: str) -> User:
        """Return the user with this e-mail address, in lower case, and password.

        A wrong e-mail address, a wrong password and a disabled user are told and worked on alike.

        Args:
            email: Of whoever somebody says they are.
            password: The proof.
            address: Where it comes from.

        Raises:
            UnauthenticatedError: One of these.
            TooManyAttemptsError: Too many have failed, or are under way.
            TryLaterError: Too many passwords are checked just now.
            StoreUnavailableError: Redis or PostgreSQL is out of reach.

        """
        async with self._attempts.one(address=address, email=email):
            async with self._database.transaction() as connection:
                user = await users.find_by_email(connection, email)
            is_right = await self._passwords.is_right(password, user.password_hash if user else None)
            if user is None or not is_right or user.disabled_at is not None:
                audit.record(SecurityEvent.LOGIN_FAILED, user_id=user.id if user else None)
                raise UnauthenticatedError("The e-mail address or the password is wrong.")
        return user

    async def confirm(self, user_id: str, *, password: str, address: str, param: str) -> User:
        """Return a user who is logged in and has given their password again, in the field `param`.

        Raises:
            WrongPasswordError: It is another one.
            UnauthenticatedError: The user is gone by now.
            TooManyAttemptsError: Too many have failed, or are under way.
            TryLaterError: Too many passwords are checked just now.
            StoreUnavailableError: Redis or PostgreSQL is out of reach.

        """
        async with self._database.transaction() as connection:
            user = await users.find(connection, user_id)
        if user is None:
            raise UnauthenticatedError("The token is not valid any more.")
        async with self._attempts.one(address=address, email=user.email):
            if not await self._passwords.is_right(password, user.password_hash):
                raise WrongPasswordError("The password is wrong.", param=param)
        return user
