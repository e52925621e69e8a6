"""Links to a job's stream that carry their own permission, because a browser's `EventSource` cannot send headers.

The permission is a JWT that names one job and the credential it was given to. It lets its holder read that stream and
nothing else, and ends when the stream can no longer be read, or with the credential. Links are masked in logs: ours
have no queries, and nginx's none either.
"""

from gateway.accounts.signing_keys import SigningKeys
from shared.clock import Clock
from shared.credential import Credential
from shared.errors import UnauthenticatedError

PARAMETER = "token"

_KIND = "stream"
_REQUIRED = ("exp", "job", "for")


class StreamLinks:
    """Makes links and checks them.

    Args:
        keys: What they are signed with.
        public_url: Where clients reach the gateway.
        valid_s: How long after its making a link is good for.
        clock: What says when that is over.

    """

    def __init__(self, *, keys: SigningKeys, public_url: str, valid_s: int, clock: Clock) -> None:
        self._keys = keys
        self._public_url = public_url
        self._valid_s = valid_s
        self._clock = clock

    def to(self, job_id: str, *, credential: Credential) -> str:
        """Return the absolute URL of a job's stream, for whoever asked with a credential."""
        expires_s = self._clock.now_ms() // 1000 + self._valid_s
        token = self._keys.sign(_KIND, {"exp": expires_s, "job": job_id, "for": str(credential)})
        return f"{self._public_url}/v1/chat/{job_id}/stream?{PARAMETER}={token}"

    def verify(self, token: str, *, job_id: str) -> Credential:
        """Return the credential as whose holder a link's token lets read a job's stream.

        Raises:
            UnauthenticatedError: It is no token of a link of ours to this stream, or it has expired.

        """
        claims = self._keys.read(token, _KIND, required=_REQUIRED)
        credential = Credential.parse(str(claims["for"]))
        if claims["job"] != job_id or credential is None:
            raise UnauthenticatedError("The link is not valid.")
        if not isinstance(claims["exp"], int) or claims["exp"] * 1000 <= self._clock.now_ms():
            raise UnauthenticatedError("The link has expired.")
        return credential
