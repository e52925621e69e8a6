"""Tells whose an access token is; one that was seen before costs two look-ups in dictionaries and no I/O."""

from gateway.accounts.access_tokens import AccessTokens, Claims
from gateway.accounts.identities import Identities
from gateway.principal import Principal
from shared.clock import Clock
from shared.credential import Credential, CredentialKind

MAX_ENTRIES = 10_000  # of about 1 kB


class TokenAuthenticator:
    """Authenticates by access token; see `gateway.principal.Authenticator`."""

    def __init__(self, *, tokens: AccessTokens, identities: Identities, clock: Clock) -> None:
        self._tokens = tokens
        self._identities = identities
        self._clock = clock
        self._verified: dict[str, Claims] = {}  # signatures hold for ever; the oldest first

    async def authenticate(self, token: str) -> Principal:
        """Return the token's owner; see `gateway.principal.Authenticator.authenticate`."""
        claims = self._verified.get(token)
        if claims is None or claims.expires_s * 1000 <= self._clock.now_ms():
            self._verified.pop(token, None)
            claims = self._verify(token)
        return await self._identities.find(Credential(CredentialKind.SESSION, claims.session_id))

    async def find(self, credential: Credential) -> Principal:
        """Return a credential's owner; see `gateway.principal.Authenticator.find`."""
        return await self._identities.find(credential)

    def _verify(self, token: str) -> Claims:
        claims = self._tokens.verify(token)
        if len(self._verified) >= MAX_ENTRIES:
            del self._verified[next(iter(self._verified))]
        self._verified[token] = claims
        return claims
