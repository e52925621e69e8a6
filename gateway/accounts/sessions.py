"""Lets people log in. Refresh tokens and logging out will have their place here."""

from gateway.accounts.access_tokens import AccessTokens
from gateway.accounts.passwords import Passwords
from shared.database import sessions, users
from shared.database.engine import Database
from shared.database.users import User
from shared.errors import UnauthenticatedError


class Sessions:
    """Trades passwords for access tokens.

    Args:
        database: Where users and sessions are.
        passwords: Checks them.
        tokens: Signs what is given out.
        valid_s: How long a session lasts that nobody refreshes.

    """

    def __init__(self, *, database: Database, passwords: Passwords, tokens: AccessTokens, valid_s: int) -> None:
        self._database = database
        self._passwords = passwords
        self._tokens = tokens
        self._valid_s = valid_s

    @property
    def ttl_s(self) -> int:
        """How long the tokens are valid."""
        return self._tokens.ttl_s

    async def log_in(self, *, email: str, password: str) -> str:
        """Return an access token for the user with this address, in lower case, and password.

        A wrong address, a wrong password and a disabled user are told and worked on alike.

        Raises:
            UnauthenticatedError: One of these.
            TryLaterError: Too many people log in just now.

        """
        async with self._database.transaction() as connection:
            user = await users.find_by_email(connection, email)
        is_right = await self._passwords.is_right(password, user.password_hash if user else None)
        if user is None or not is_right or user.disabled_at is not None:
            raise UnauthenticatedError("The e-mail address or the password is wrong.")
        if self._passwords.is_outdated(user.password_hash):
            await self._strengthen(user, password)
        async with self._database.transaction() as connection:
            session_id = await sessions.create(connection, user.id, valid_s=self._valid_s)
        return self._tokens.issue(user.id, session_id=session_id)

    async def _strengthen(self, user: User, password: str) -> None:
        stronger = await self._passwords.hash(password)
        async with self._database.transaction() as connection:
            await users.replace_password_hash(connection, user.id, old=user.password_hash, new=stronger)
