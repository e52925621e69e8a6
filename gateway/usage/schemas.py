"""What `GET /v1/usage` answers."""

from datetime import date

from msgspec import UNSET, Struct, UnsetType, field

from shared.clock import Timestamp


class Outcomes(Struct, frozen=True):
    """Requests by how they ended."""

    completed: int
    failed: int
    cancelled: int
    expired: int


class UsageRow(Struct, frozen=True, kw_only=True):
    """What belongs together, counted; `day`, `model` and the key are there if they are grouped by."""

    day: date | UnsetType = UNSET  # UTC
    model: str | UnsetType = UNSET
    api_key_id: str | UnsetType | None = UNSET  # null: what was asked for in a session
    api_key_name: str | UnsetType | None = UNSET
    requests: int
    prompt_tokens: int
    completion_tokens: int
    outcomes: Outcomes


class UsagePage(Struct, frozen=True, kw_only=True):
    """What the caller has asked for within a time: requests that have ended, by when they were admitted."""

    since: Timestamp = field(name="from")
    until: Timestamp = field(name="to")  # the first instant that does not count
    data: list[UsageRow]
    next_cursor: str | None  # for the page after this one; null: there is none
