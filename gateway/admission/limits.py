"""How much somebody may take: the settings say it, a user's row may say otherwise, an API key's row may lower it."""

from enum import StrEnum
from typing import Annotated, Any, Self

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from gateway.admission.settings import RateLimitSettings

PerMinute = Annotated[int, Meta(ge=1, le=60_000_000)]
AtOnce = Annotated[int, Meta(ge=1, le=1_000_000)]


class Priority(StrEnum):
    """Whose jobs come first."""

    INTERACTIVE = "interactive"  # somebody waits for them
    BATCH = "batch"  # nobody does, and they have to come to an end all the same


class Limits(Struct, frozen=True):
    """What somebody may take."""

    requests_per_minute: int | None = None  # None: as many as they like, and so for the others
    tokens_per_minute: int | None = None  # of prompts and answers
    concurrent_jobs: int | None = None  # that wait or run
    open_streams: int | None = None
    priority: Priority = Priority.INTERACTIVE

    @classmethod
    def of(cls, settings: RateLimitSettings) -> Self:
        """Return the limits of a user for whom nothing else is said."""
        return cls(
            requests_per_minute=settings.rate_limit_requests_per_minute,
            tokens_per_minute=settings.rate_limit_tokens_per_minute,
            concurrent_jobs=settings.rate_limit_concurrent_jobs,
            open_streams=settings.rate_limit_open_streams,
        )

    def lowered_by(self, other: "Limits") -> "Limits":
        """Return the lower one of each: what somebody may take who is bound by both."""
        return Limits(
            requests_per_minute=_lower(self.requests_per_minute, other.requests_per_minute),
            tokens_per_minute=_lower(self.tokens_per_minute, other.tokens_per_minute),
            concurrent_jobs=_lower(self.concurrent_jobs, other.concurrent_jobs),
            open_streams=_lower(self.open_streams, other.open_streams),
            priority=Priority.BATCH if Priority.BATCH in (self.priority, other.priority) else Priority.INTERACTIVE,
        )


LEAST = Limits(requests_per_minute=1, tokens_per_minute=1, concurrent_jobs=1, open_streams=1)


class OwnLimits(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is said of one user or one API key, as it stands in their row: null lifts a limit, what is absent stays."""

    requests_per_minute: PerMinute | UnsetType | None = UNSET
    tokens_per_minute: PerMinute | UnsetType | None = UNSET
    concurrent_jobs: AtOnce | UnsetType | None = UNSET
    open_streams: AtOnce | UnsetType | None = UNSET
    priority: Priority | UnsetType = UNSET

    def over(self, limits: Limits) -> Limits:
        """Return `limits` with what is said here instead."""
        return structs.replace(limits, **self._said())

    def exceeds(self, owner: Limits) -> str | None:
        """Return the name of a limit that is higher than the owner's; None: all are as low, or lower."""
        asked = self.over(owner)
        allowed = asked.lowered_by(owner)
        return next((name for name in self._said() if getattr(asked, name) != getattr(allowed, name)), None)

    def _said(self) -> dict[str, Any]:
        return {name: value for name, value in structs.asdict(self).items() if value is not UNSET}


def _lower(first: int | None, second: int | None) -> int | None:
    return min(first, second) if first is not None and second is not None else first or second
