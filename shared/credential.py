"""What somebody proves with who they are: their session, or one of their API keys."""

from enum import StrEnum
from typing import Self

from msgspec import Struct

from shared.ids import is_id


class CredentialKind(StrEnum):
    """What a credential is."""

    SESSION = "session"  # of somebody who has logged in; named by every access token of theirs
    KEY = "key"  # an API key


class Credential(Struct, frozen=True):
    """Names a credential without giving it away: this is what is remembered, revoked and written into stream links."""

    kind: CredentialKind
    id: str

    def __str__(self) -> str:
        """As `session:<id>`, the form in which it leaves the process."""
        return f"{self.kind}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the credential that `str` gave `text`; None: there is none of this form."""
        kind, _, id_ = text.partition(":")
        return cls(CredentialKind(kind), id_) if kind in set(CredentialKind) and is_id(id_) else None
