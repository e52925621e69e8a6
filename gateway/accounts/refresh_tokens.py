"""Refresh tokens: which of a session's is the good one, vouched for by a MAC, and stored nowhere.

`rt-ds-` and, in base64url, the session's id (16 bytes), the token's generation (4 bytes, big-endian) and their MAC (32
bytes). The table `sessions` knows which generation is good. Whoever has the secret can write down a token's successor
again, so that a client that did not hear of it is told the very same.
"""

import base64
import binascii
import hmac
from uuid import UUID

from msgspec import Struct

from gateway.accounts.signing_keys import SigningKeys
from shared.errors import UnauthenticatedError

PREFIX = "rt-ds-"
CHARS = 76

_ID_BYTES = 16
_GENERATION_BYTES = 4


class RefreshToken(Struct, frozen=True):
    """What a refresh token says."""

    session_id: str
    generation: int  # 1: of the login; one more with each refresh


class RefreshTokens:
    """Writes and reads refresh tokens; all that the current secret and the one before have signed are good."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys.derived("refresh tokens")

    def write(self, token: RefreshToken) -> str:
        """Return a refresh token as a client gets it."""
        return _write(token, self._keys[0])

    def read(self, text: str) -> RefreshToken:
        """Return what a refresh token says; whether it is the good one of its session is not known here.

        Raises:
            UnauthenticatedError: It is none of ours.

        """
        token = _parse(text)
        if token is None or not any(hmac.compare_digest(_write(token, key), text) for key in self._keys):
            raise UnauthenticatedError("The refresh token is not valid.")
        return token


def _write(token: RefreshToken, key: bytes) -> str:
    said = UUID(token.session_id).bytes + token.generation.to_bytes(_GENERATION_BYTES, "big")
    return PREFIX + base64.urlsafe_b64encode(said + hmac.digest(key, said, "sha256")).rstrip(b"=").decode()


def _parse(text: str) -> RefreshToken | None:
    """Read what stands in front of the MAC; that all else is as it should be shows when it is written again."""
    if len(text) != CHARS or not (text.isascii() and text.startswith(PREFIX)):
        return None
    try:
        said = base64.b64decode(text.removeprefix(PREFIX) + "==", altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    return RefreshToken(
        session_id=str(UUID(bytes=said[:_ID_BYTES])),
        generation=int.from_bytes(said[_ID_BYTES : _ID_BYTES + _GENERATION_BYTES], "big"),
    )
