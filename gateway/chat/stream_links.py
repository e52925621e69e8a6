"""Links to a job's stream that carry their own permission, because a browser's `EventSource` cannot send headers.

The permission is a JWT that names one job and the credential it was given to. It lets its holder read that stream and
nothing else, and ends when the stream can no longer be read, or with the credential. Links are masked in logs: ours
have no queries, and nginx's none either.
"""

from typing import Any

import jwt

from shared.clock import Clock
from shared.credential import Credential
from shared.errors import UnauthenticatedError

ALGORITHM = "HS256"
AUDIENCE = "deepersensor"
TYPE = "stream"  # so that it does not pass for an access token, nor one of those for it
PARAMETER = "token"

_REQUIRED = ("aud", "exp", "typ", "job", "for")


class StreamLinks:
    """Makes links and checks them.

    Args:
        secret: `JWT_SECRET`.
        public_url: Where clients reach the gateway.
        valid_s: How long after its making a link is good for.
        clock: What says when that is over.

    """

    def __init__(self, *, secret: str, public_url: str, valid_s: int, clock: Clock) -> None:
        self._secret = secret.encode()
        self._public_url = public_url
        self._valid_s = valid_s
        self._clock = clock

    def to(self, job_id: str, *, credential: Credential) -> str:
        """Return the absolute URL of a job's stream, for whoever asked with a credential."""
        expires_s = self._clock.now_ms() // 1000 + self._valid_s
        claims = {"aud": AUDIENCE, "exp": expires_s, "typ": TYPE, "job": job_id, "for": str(credential)}
        token = jwt.encode(claims, self._secret, algorithm=ALGORITHM)
        return f"{self._public_url}/v1/chat/{job_id}/stream?{PARAMETER}={token}"

    def verify(self, token: str, *, job_id: str) -> Credential:
        """Return the credential as whose holder a link's token lets read a job's stream.

        Raises:
            UnauthenticatedError: It is no token of a link of ours to this stream, or it has expired.

        """
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                options={"require": list(_REQUIRED), "verify_exp": False},
            )
        except jwt.InvalidTokenError:
            raise UnauthenticatedError("The link is not valid.") from None
        credential = Credential.parse(str(claims["for"]))
        if (claims["typ"], claims["job"]) != (TYPE, job_id) or credential is None:
            raise UnauthenticatedError("The link is not valid.")
        if not isinstance(claims["exp"], int) or claims["exp"] * 1000 <= self._clock.now_ms():
            raise UnauthenticatedError("The link has expired.")
        return credential
