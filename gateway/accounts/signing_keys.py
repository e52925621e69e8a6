"""The secrets that tokens are signed with: today's, and another one that is accepted while it is replaced.

Each JWT says in its header which of the two signed it (`kid`): by the beginning of that secret's digest.
"""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from shared.errors import UnauthenticatedError

ALGORITHM = "HS256"
AUDIENCE = "deepersensor"
KEY_ID_CHARS = 8

_log = logging.getLogger(__name__)


def temporary_secret() -> str:
    """Return a new secret for a process that was given none, and say so: nobody else will accept its tokens."""
    _log.warning("temporary_jwt_secret_made", extra={"valid": "in this process, until it ends"})
    return secrets.token_urlsafe(32)


class SigningKeys:
    """Signs with one secret, and accepts what it or another one has signed.

    Args:
        secret: `JWT_SECRET`, at least 32 bytes.
        previous: `JWT_SECRET_PREVIOUS`; empty: none.

    """

    def __init__(self, secret: str, *, previous: str = "") -> None:
        self._id = _key_id(secret)
        self._secrets = {_key_id(text): text.encode() for text in (secret, previous) if text}

    def sign(self, kind: str, claims: Mapping[str, Any]) -> str:
        """Return a JWT; `kind` keeps what is signed for one purpose from being taken for another."""
        return jwt.encode(
            {"aud": AUDIENCE, "typ": kind, **claims},
            self._secrets[self._id],
            algorithm=ALGORITHM,
            headers={"kid": self._id},
        )

    def read(self, token: str, kind: str, *, required: Sequence[str], issuer: str | None = None) -> dict[str, Any]:
        """Return what a JWT of ours says; whether it is its time is for the caller to judge.

        Args:
            token: Whatever somebody sent.
            kind: What it must have been signed for.
            required: Claims that it must have.
            issuer: Who must have issued it; None: that is not asked.

        Raises:
            UnauthenticatedError: It is no such token, or none of our secrets has signed it.

        """
        try:
            secret = self._secrets.get(jwt.get_unverified_header(token).get("kid", ""))
            if secret is None:
                raise _not_valid()
            claims: dict[str, Any] = jwt.decode(
                token,
                secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=issuer,
                options={
                    "require": ["aud", "typ", *required],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError:
            raise _not_valid() from None
        if claims["typ"] != kind:
            raise _not_valid()
        return claims

    def derived(self, purpose: str) -> tuple[bytes, ...]:
        """Return a key from each secret, first from the one that signs, which say nothing of it and of each other."""
        ids = sorted(self._secrets, key=lambda key_id: key_id != self._id)
        return tuple(hmac.digest(self._secrets[key_id], purpose.encode(), "sha256") for key_id in ids)


def _key_id(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:KEY_ID_CHARS]


def _not_valid() -> UnauthenticatedError:
    return UnauthenticatedError("The token is not valid.")
