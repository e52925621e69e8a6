"""Tells whose a token is; one that was seen before costs two look-ups in dictionaries and no I/O."""

from msgspec import Struct

from gateway.accounts.access_tokens import AccessTokens
from gateway.accounts.identities import Identities
from gateway.api_keys.key_format import PREFIX as KEY_PREFIX
from gateway.api_keys.keyring import Keyring
from gateway.api_keys.last_use import LastUse
from gateway.principal import Principal
from shared.clock import Clock
from shared.credential import Credential, CredentialKind

MAX_ENTRIES = 10_000  # of about 1 kB


class _Proven(Struct, frozen=True):
    """What a token was found to be, which does not change; whether that is good still, `Identities` tells."""

    credential: Credential
    expires_s: int | None  # when the token does, in seconds since 1970; None: as its credential does


class TokenAuthenticator:
    """Authenticates by access token or API key; see `gateway.principal.Authenticator`."""

    def __init__(
        self, *, tokens: AccessTokens, keyring: Keyring, last_use: LastUse, identities: Identities, clock: Clock
    ) -> None:
        self._tokens = tokens
        self._keyring = keyring
        self._last_use = last_use
        self._identities = identities
        self._clock = clock
        self._proven: dict[str, _Proven] = {}  # the oldest first; what proves to be nothing is not among them

    async def authenticate(self, token: str) -> Principal:
        """Return the token's owner; see `gateway.principal.Authenticator.authenticate`."""
        proven = self._proven.get(token)
        if proven is None or (proven.expires_s is not None and proven.expires_s * 1000 <= self._clock.now_ms()):
            self._proven.pop(token, None)
            proven = await self._prove(token)
        principal = await self._identities.find(proven.credential)
        if principal.key is not None:
            self._last_use.note(principal.key.id)
        return principal

    async def find(self, credential: Credential) -> Principal:
        """Return a credential's owner; see `gateway.principal.Authenticator.find`."""
        return await self._identities.find(credential)

    async def _prove(self, token: str) -> _Proven:
        if token.startswith(KEY_PREFIX):
            proven = _Proven(await self._keyring.find(token), expires_s=None)
        else:
            claims = self._tokens.verify(token)
            proven = _Proven(Credential(CredentialKind.SESSION, claims.session_id), expires_s=claims.expires_s)
        if len(self._proven) >= MAX_ENTRIES:
            del self._proven[next(iter(self._proven))]
        self._proven[token] = proven
        return proven
