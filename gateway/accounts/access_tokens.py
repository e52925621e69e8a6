"""Access tokens: JWTs that say who somebody is, for an hour or so, to every gateway that knows the secret."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from gateway.accounts.signing_keys import SigningKeys
from shared.clock import Clock
from shared.errors import UnauthenticatedError
from shared.ids import is_id, new_id

LEEWAY_S = 5  # clocks of two gateways may differ by this

_KIND = "access"
_REQUIRED = ("iss", "sub", "iat", "nbf", "exp", "jti", "sid")


class Claims(Struct, frozen=True):
    """What a valid token says."""

    user_id: str
    session_id: str
    expires_s: int  # seconds since 1970


class AccessTokens:
    """Signs and checks access tokens.

    Args:
        keys: What they are signed with.
        issuer: `iss`.
        ttl_s: How long a token is valid.
        clock: What `iat` and `exp` are taken from.

    """

    def __init__(self, *, keys: SigningKeys, issuer: str, ttl_s: int, clock: Clock) -> None:
        self._keys = keys
        self._issuer = issuer
        self._clock = clock
        self.ttl_s = ttl_s

    def issue(self, user_id: str, *, session_id: str) -> str:
        """Return a token for a user's session."""
        now_s = self._clock.now_ms() // 1000
        claims = {
            "iss": self._issuer,
            "sub": user_id,
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + self.ttl_s,
            "jti": new_id(),
            "sid": session_id,
        }
        return self._keys.sign(_KIND, claims)

    def verify(self, token: str) -> Claims:
        """Return what `token` says.

        Raises:
            UnauthenticatedError: It is no token of ours, or it has expired.

        """
        claims = self._keys.read(token, _KIND, required=_REQUIRED, issuer=self._issuer)
        if not all(isinstance(id_, str) and is_id(id_) for id_ in (claims["sub"], claims["sid"])):
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
