"""Access tokens: JWTs that say who somebody is, for an hour or so, to every gateway that knows the secret."""

import hashlib
import logging
import secrets
from collections.abc import Mapping
from typing import Any

import jwt
from msgspec import Struct

from shared.clock import Clock
from shared.errors import UnauthenticatedError
from shared.ids import is_id, new_id

ALGORITHM = "HS256"
AUDIENCE = "deepersensor"
TYPE = "access"  # so that no other kind of token, signed with the same secret, passes for one
LEEWAY_S = 5  # clocks of two gateways may differ by this
KEY_ID_CHARS = 8

logger = logging.getLogger(__name__)

_REQUIRED = ("iss", "aud", "sub", "iat", "nbf", "exp", "jti", "typ", "sid")


def temporary_secret() -> str:
    """Return a new secret for a process that was given none, and say so: nobody else will accept its tokens."""
    logger.warning("temporary_jwt_secret_made", extra={"valid": "in this process, until it ends"})
    return secrets.token_urlsafe(32)


class Claims(Struct, frozen=True):
    """What a valid token says."""

    user_id: str
    session_id: str
    expires_s: int  # seconds since 1970


class AccessTokens:
    """Signs and checks access tokens.

    Args:
        secret: At least 32 bytes. Its digest names it in the header (`kid`), so that a successor can be told from it.
        issuer: `iss`.
        ttl_s: How long a token is valid.
        clock: What `iat` and `exp` are taken from.

    """

    def __init__(self, *, secret: str, issuer: str, ttl_s: int, clock: Clock) -> None:
        self._secret = secret.encode()
        self._key_id = hashlib.sha256(self._secret).hexdigest()[:KEY_ID_CHARS]
        self._issuer = issuer
        self._clock = clock
        self.ttl_s = ttl_s

    def issue(self, user_id: str, *, session_id: str) -> str:
        """Return a token for a user's session."""
        now_s = self._clock.now_ms() // 1000
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": user_id,
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + self.ttl_s,
            "jti": new_id(),
            "typ": TYPE,
            "sid": session_id,
        }
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM, headers={"kid": self._key_id})

    def verify(self, token: str) -> Claims:
        """Return what `token` says.

        Raises:
            UnauthenticatedError: It is no token of ours, or it has expired.

        """
        try:
            if jwt.get_unverified_header(token).get("kid") != self._key_id:
                raise UnauthenticatedError("The token is not valid.")
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=self._issuer,
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise UnauthenticatedError("The token is not valid.") from None
        if claims["typ"] != TYPE or not (is_id(claims["sub"]) and is_id(claims["sid"])):
            raise UnauthenticatedError("The token is not valid.")
        self._check_times(claims)
        return Claims(user_id=claims["sub"], session_id=claims["sid"], expires_s=claims["exp"])

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        """As pyjwt would, but by the clock that the tokens are issued by."""
        times = [claims[name] for name in ("iat", "nbf", "exp")]
        if not all(type(time) is int for time in times):
            raise UnauthenticatedError("The token is not valid.")
        issued_s, begins_s, expires_s = times
        now_s = self._clock.now_ms() / 1000
        if max(issued_s, begins_s) > now_s + LEEWAY_S:
            raise UnauthenticatedError("The token is not valid yet.")
        if expires_s <= now_s - LEEWAY_S:
            raise UnauthenticatedError("The token has expired.")
