"""What operators do with accounts; the rules are those of the API."""

from collections.abc import AsyncIterator
from datetime import datetime

from msgspec import Struct

from gateway.accounts.passwords import Passwords
from gateway.accounts.removal import Removal
from gateway.operators.errors import NotToldError
from shared import audit
from shared.audit import SecurityEvent
from shared.clock import Clock, now
from shared.credential import Credential, CredentialKind
from shared.database import sessions, users
from shared.database.engine import Database
from shared.database.users import Role, User
from shared.errors import NotFoundError, StoreUnavailableError
from shared.ids import is_id
from shared.revocations import Revocations, everything_of

PAGE = 500  # users read at once


class ShownUser(Struct, frozen=True):
    """A user, but for the password."""

    id: str
    email: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None  # since when nothing is let in any more

    @classmethod
    def of(cls, user: User) -> "ShownUser":
        """Return what is shown of a user."""
        return cls(user.id, user.email, user.role, user.created_at, user.disabled_at)


class UserOffice:
    """Makes, changes and removes accounts.

    Args:
        database: Where they are.
        passwords: The rules for passwords, and their hashes.
        removal: Deletes.
        revocations: Tells all gateways who is let in no more.
        clock: What says when.

    """

    def __init__(
        self, *, database: Database, passwords: Passwords, removal: Removal, revocations: Revocations, clock: Clock
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._removal = removal
        self._revocations = revocations
        self._clock = clock

    async def create(self, email: str, *, password: str, role: Role) -> ShownUser:
        """Make an account, whatever `SIGNUP_MODE` says; `email` is in lower case.

        Raises:
            InvalidRequestError: The password will not do.
            EmailTakenError: There is an account already.

        """
        self._passwords.check_new(password, email=email)
        password_hash = await self._passwords.hash(password)
        async with self._database.transaction() as connection:
            user = await users.create(connection, email=email, password_hash=password_hash, role=role)
        audit.record(SecurityEvent.USER_CREATED, user_id=user.id, role=role)
        return ShownUser.of(user)

    async def everybody(self) -> AsyncIterator[ShownUser]:
        """Yield all users, the oldest first."""
        after: str | None = None
        while True:
            async with self._database.transaction() as connection:
                page = await users.list_all(connection, after=after, limit=PAGE)
            for user in page:
                yield ShownUser.of(user)
            if len(page) < PAGE:
                return
            after = page[-1].id

    async def find(self, name: str) -> User:
        """Return the user with this e-mail address, in lower case, or id.

        Raises:
            NotFoundError: There is none.

        """
        async with self._database.transaction() as connection:
            lookup = users.find if is_id(name) else users.find_by_email
            user = await lookup(connection, name)
        if user is None:
            raise NotFoundError(f"There is no user {name}.")
        return user

    async def disable(self, name: str) -> ShownUser:
        """Shut an account: nothing of it is let in any more, by any gateway, after 5 s.

        Raises:
            NotFoundError: There is no such user.
            StoreUnavailableError: The database is out of reach, and nothing is done.
            NotToldError: Redis is.

        """
        return await self._set_standing(name, SecurityEvent.USER_DISABLED, disabled=True)

    async def enable(self, name: str) -> ShownUser:
        """Open an account again; the sessions and keys that it had are good again where they have not expired.

        Raises:
            NotFoundError: There is no such user.
            StoreUnavailableError: The database is out of reach, and nothing is done.
            NotToldError: Redis is.

        """
        return await self._set_standing(name, SecurityEvent.USER_ENABLED, disabled=False)

    async def set_password(self, name: str, *, password: str) -> ShownUser:
        """Have `password` be the user's from now on, and end all of their sessions; their API keys stay.

        Raises:
            NotFoundError: There is no such user.
            InvalidRequestError: The password will not do.
            StoreUnavailableError: The database is out of reach, and nothing is done.
            NotToldError: Redis is.

        """
        user = await self.find(name)
        self._passwords.check_new(password, email=user.email)
        password_hash = await self._passwords.hash(password)
        async with self._database.transaction() as connection:
            await users.set_password_hash(connection, user.id, password_hash)
            ended = await sessions.revoke_all(connection, user.id, now=now(self._clock))
        audit.record(SecurityEvent.PASSWORD_CHANGED, user_id=user.id)
        await self._tell(*(str(Credential(CredentialKind.SESSION, id_)) for id_ in ended))
        return ShownUser.of(user)

    async def delete(self, name: str) -> ShownUser:
        """Delete an account and all that belongs to it.

        Raises:
            NotFoundError: There is no such user.
            StoreUnavailableError: The database is out of reach, and nothing is deleted.

        """
        user = await self.find(name)
        await self._removal.remove(user.id)
        return ShownUser.of(user)

    async def _set_standing(self, name: str, event: SecurityEvent, *, disabled: bool) -> ShownUser:
        user = await self.find(name)
        async with self._database.transaction() as connection:
            changed = await users.set_disabled(connection, user.id, since=now(self._clock) if disabled else None)
        if changed is None:  # deleted in this moment
            raise NotFoundError(f"There is no user {name}.")
        audit.record(event, user_id=user.id)
        await self._tell(everything_of(user.id))
        return ShownUser.of(changed)

    async def _tell(self, *credentials: str) -> None:
        try:
            await self._revocations.revoke(*credentials)
        except StoreUnavailableError:
            raise NotToldError(
                "It is done, and gateways see it within 5 s; but Redis, by which they would know it while the database"
                " is away, could not be told. Repeat the command when it can be reached."
            ) from None
