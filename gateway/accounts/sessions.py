"""From logging in to logging out: a session is named by its access tokens and kept alive by its refresh tokens."""

import contextlib
import logging

from msgspec import Struct

from gateway.accounts.access_tokens import AccessTokens
from gateway.accounts.attempts import Attempts
from gateway.accounts.password_check import PasswordCheck
from gateway.accounts.passwords import Passwords
from gateway.accounts.refresh_tokens import RefreshToken, RefreshTokens
from shared import audit
from shared.audit import SecurityEvent
from shared.clock import Clock, now
from shared.credential import Credential, CredentialKind
from shared.database import sessions, users
from shared.database.engine import Database
from shared.database.users import User
from shared.errors import StoreUnavailableError, TryLaterError, UnauthenticatedError
from shared.revocations import Revocations

GRACE_S = 10.0
"""For so long after its use a refresh token gives its successor again: to a client whose connection broke."""

_log = logging.getLogger(__name__)


class TokenPair(Struct, frozen=True):
    """What a session gives its holder."""

    access_token: str
    refresh_token: str
    access_ttl_s: int


class Sessions:
    """Begins sessions, keeps them alive, and ends them.

    Args:
        database: Where they are.
        check: Finds out who logs in.
        passwords: Renews hashes when they may be stronger.
        attempts: Slows down who tries refresh tokens.
        access_tokens: Signs them.
        refresh_tokens: Signs them.
        revocations: Tells all gateways what has ended.
        clock: What says how late it is.
        valid_s: How long a session lasts that nobody refreshes.

    """

    def __init__(
        self,
        *,
        database: Database,
        check: PasswordCheck,
        passwords: Passwords,
        attempts: Attempts,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        revocations: Revocations,
        clock: Clock,
        valid_s: int,
    ) -> None:
        self._database = database
        self._check = check
        self._passwords = passwords
        self._attempts = attempts
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._revocations = revocations
        self._clock = clock
        self._valid_s = valid_s

    async def log_in(self, *, email: str, password: str, address: str) -> TokenPair:
        """Begin a session for the user with this e-mail address, in lower case, and password.

        Raises:
            DeeperSensorError: See `PasswordCheck.log_in`.

        """
        while True:  # a second time if the password is changed in between
            user = await self._check.log_in(email=email, password=password, address=address)
            async with self._database.transaction() as connection:
                session_id = await sessions.begin(connection, user, now=now(self._clock), valid_s=self._valid_s)
            if session_id is not None:
                break
        audit.record(SecurityEvent.LOGIN_SUCCEEDED, user_id=user.id, credential=_credential(session_id))
        if self._passwords.is_outdated(user.password_hash):
            await self._strengthen(user, password)
        return self._pair(user.id, RefreshToken(session_id, sessions.FIRST_GENERATION))

    async def refresh(self, text: str, *, address: str) -> TokenPair:
        """Trade a refresh token for a new pair; the token is spent.

        Within GRACE_S it gives the same refresh token again. Later, or when its successor has been spent as well, it
        must be in the hands of two, and the session ends.

        Raises:
            UnauthenticatedError: It is none of ours, or is spent, or its session has ended.
            TooManyAttemptsError: Too many of this address have failed.
            StoreUnavailableError: Redis or PostgreSQL is out of reach.

        """
        async with self._attempts.one(address=address):
            token = self._refresh_tokens.read(text)
            async with self._database.transaction() as connection:
                refreshed = await sessions.refresh(
                    connection,
                    token.session_id,
                    generation=token.generation,
                    now=now(self._clock),
                    valid_s=self._valid_s,
                    grace_s=GRACE_S,
                )
            if refreshed is None:
                raise UnauthenticatedError("The session has ended.")
            if refreshed.was_reused:
                credential = _credential(token.session_id)
                audit.record(SecurityEvent.REFRESH_REUSED, user_id=refreshed.user_id, credential=credential)
                await self.tell_ended(token.session_id)
                raise UnauthenticatedError("The refresh token was used before; the session has ended.")
        return self._pair(refreshed.user_id, RefreshToken(token.session_id, token.generation + 1))

    async def log_out(self, user_id: str, session_id: str) -> None:
        """End a session.

        Raises:
            StoreUnavailableError: PostgreSQL is out of reach, and the session goes on.

        """
        async with self._database.transaction() as connection:
            await sessions.revoke(connection, session_id, now=now(self._clock))
        audit.record(SecurityEvent.LOGGED_OUT, user_id=user_id, credential=_credential(session_id))
        await self.tell_ended(session_id)

    async def tell_ended(self, *session_ids: str) -> None:
        """Have all gateways know which sessions have ended; without Redis they notice within seconds by themselves."""
        try:
            await self._revocations.revoke(*(str(_credential(session_id)) for session_id in session_ids))
        except StoreUnavailableError as error:
            _log.warning("revocation_untold", extra={"error": error.message})

    def _pair(self, user_id: str, token: RefreshToken) -> TokenPair:
        return TokenPair(
            access_token=self._access_tokens.issue(user_id, session_id=token.session_id),
            refresh_token=self._refresh_tokens.write(token),
            access_ttl_s=self._access_tokens.ttl_s,
        )

    async def _strengthen(self, user: User, password: str) -> None:
        with contextlib.suppress(TryLaterError):  # there will be another login
            stronger = await self._passwords.hash(password)
            async with self._database.transaction() as connection:
                await users.replace_password_hash(connection, user.id, old=user.password_hash, new=stronger)


def _credential(session_id: str) -> Credential:
    return Credential(CredentialKind.SESSION, session_id)
