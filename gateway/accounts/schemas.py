"""What the account calls take and answer."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.accounts.passwords import MAX_LENGTH
from gateway.admission.limits import Limits
from shared.clock import Timestamp
from shared.database.users import Role

Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=254,  # RFC 5321, 4.5.3.1.3
        pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$(?!\n)",  # Python's $ also matches before a last newline
        description="An e-mail address; upper and lower case are the same.",
        examples=["ada@example.org"],
    ),
]


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    """An e-mail address and the password that belongs to it."""

    email: Email
    password: Annotated[str, Meta(min_length=1, max_length=MAX_LENGTH, examples=["a quiet harbour at dawn"])]

    @property
    def normalized_email(self) -> str:
        """The address as it is stored and compared."""
        return self.email.lower()


class SignedUp(Struct, frozen=True):
    """The new account."""

    id: str
    email: str


class LoggedIn(Struct, frozen=True):
    """What to send as `Authorization: Bearer` from now on."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: Annotated[int, Meta(description="Seconds that the access token is valid.")]


class Me(Struct, frozen=True):
    """The caller."""

    id: str
    email: str
    role: Role
    created_at: Timestamp
    limits: Limits
