"""What the calls about API keys take and answer."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.admission.limits import OwnLimits
from gateway.request_body import ONE_LINE
from shared.clock import Timestamp
from shared.model_names import ModelName

Name = Annotated[
    str,
    Meta(min_length=1, max_length=100, pattern=ONE_LINE, description="What its owner knows it by.", examples=["ci"]),
]
Scope = Literal["chat", "conversations", "usage"]
Expiry = Annotated[datetime, Meta(tz=True, description="From when on it lets nobody in.")]


class NewApiKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key that is wanted."""

    name: Name
    models: Annotated[list[ModelName], Meta(min_length=1, max_length=100)] | None = None  # null: all
    expires_at: Expiry | None = None  # null: never
    limits: OwnLimits | None = None
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=10)] | None = None  # null: all


class ShownApiKey(Struct, frozen=True, kw_only=True):
    """A key, but for its secret."""

    id: str
    name: str
    prefix: str  # what the key begins with
    scopes: list[Scope]
    models: list[str] | None  # null: all
    limits: OwnLimits
    created_at: Timestamp
    expires_at: Timestamp | None  # null: never
    last_used_at: Timestamp | None  # to the minute; null: never


class CreatedApiKey(ShownApiKey, frozen=True, kw_only=True):
    """A new key: the only time that it is shown."""

    key: str


class ApiKeyPage(Struct, frozen=True):
    """Some of the caller's API keys, newest first."""

    data: list[ShownApiKey]
    next_cursor: str | None  # for the page after this one; null: there is none
