"""What people change about their own account; each time they give their password again."""

from gateway.accounts.password_check import PasswordCheck
from gateway.accounts.passwords import Passwords
from gateway.accounts.removal import Removal
from gateway.accounts.sessions import Sessions
from shared import audit
from shared.audit import SecurityEvent
from shared.clock import Clock, now
from shared.credential import Credential
from shared.database import sessions, users
from shared.database.engine import Database
from shared.errors import WrongPasswordError


class OwnAccount:
    """Changes passwords and deletes accounts on behalf of their owners.

    Args:
        database: Where users and sessions are.
        check: Finds out whether it is the owner.
        passwords: Hashes.
        sessions: Ends those that are not to go on.
        removal: Deletes.
        clock: What says when.

    """

    def __init__(
        self,
        *,
        database: Database,
        check: PasswordCheck,
        passwords: Passwords,
        sessions: Sessions,
        removal: Removal,
        clock: Clock,
    ) -> None:
        self._database = database
        self._check = check
        self._passwords = passwords
        self._sessions = sessions
        self._removal = removal
        self._clock = clock

    async def change_password(self, user_id: str, *, current: str, new: str, session: Credential, address: str) -> None:
        """Have `new` be the password from now on, and end every session but one.

        Args:
            user_id: Whose.
            current: The password so far.
            new: The next.
            session: That goes on.
            address: Where the request comes from.

        Raises:
            InvalidRequestError: `new` will not do.
            DeeperSensorError: See `PasswordCheck.confirm`.

        """
        user = await self._check.confirm(user_id, password=current, address=address, param="current_password")
        self._passwords.check_new(new, email=user.email, param="new_password")
        password_hash = await self._passwords.hash(new)
        async with self._database.transaction() as connection:
            if not await users.replace_password_hash(connection, user_id, old=user.password_hash, new=password_hash):
                raise WrongPasswordError("The password has just been changed.", param="current_password")
            ended = await sessions.revoke_all(connection, user_id, but=session.id, now=now(self._clock))
        audit.record(SecurityEvent.PASSWORD_CHANGED, user_id=user_id, credential=session)
        await self._sessions.tell_ended(*ended)

    async def delete(self, user_id: str, *, password: str, address: str) -> None:
        """Delete the account and all that is its owner's.

        Raises:
            DeeperSensorError: See `PasswordCheck.confirm`.

        """
        await self._check.confirm(user_id, password=password, address=address, param="password")
        await self._removal.remove(user_id)
