"""What the account calls take and answer."""

from typing import Annotated, Literal, Self

from msgspec import Meta, Struct

from gateway.accounts.passwords import MAX_LENGTH
from gateway.accounts.sessions import TokenPair
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


Password = Annotated[str, Meta(min_length=1, max_length=MAX_LENGTH, examples=["a quiet harbour at dawn"])]


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    """An e-mail address and the password that belongs to it."""

    email: Email
    password: Password

    @property
    def normalized_email(self) -> str:
        """The address as it is stored and compared."""
        return self.email.lower()


class Renewal(Struct, frozen=True, forbid_unknown_fields=True):
    """A refresh token, to be traded for the next."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=256)]


class PasswordChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The password so far, and the next."""

    current_password: Password
    new_password: Password


class Farewell(Struct, frozen=True, forbid_unknown_fields=True):
    """The password once more, so that nobody else deletes the account."""

    password: Password


class SignedUp(Struct, frozen=True):
    """The new account."""

    id: str
    email: str


class LoggedIn(Struct, frozen=True):
    """What to send as `Authorization: Bearer` from now on, and what to trade for the next of it."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: Annotated[int, Meta(description="Seconds that the access token is valid.")]
    refresh_token: Annotated[str, Meta(description="Is good once: `POST /v1/auth/refresh` gives the next.")]

    @classmethod
    def of(cls, pair: TokenPair) -> Self:
        """Return the answer that gives a client its tokens."""
        return cls(pair.access_token, "bearer", pair.access_ttl_s, pair.refresh_token)


class Me(Struct, frozen=True):
    """The caller."""

    id: str
    email: str
    role: Role
    created_at: Timestamp
    limits: Limits
