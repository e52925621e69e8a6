"""For which time usage is asked: `?from=&to=`, each a UTC day or an instant."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Self

import msgspec
from msgspec import Meta, Struct

from gateway.operation import Parameter
from shared.clock import Clock, now
from shared.errors import InvalidRequestError

DEFAULT_DAYS = 30
MOST_DAYS = 92  # a quarter; more is more than one query should sum up
PARAMETERS = (
    Parameter(
        "from",
        "query",
        f"The first instant: a day (UTC) or a time (RFC 3339). {DEFAULT_DAYS} days ago unless told.",
        pattern=r"^\d{4}-\d{2}-\d{2}",
    ),
    Parameter(
        "to",
        "query",
        f"The first instant that does not count, at most {MOST_DAYS} days after `from`. Now unless told.",
        pattern=r"^\d{4}-\d{2}-\d{2}",
    ),
)

_Instant = Annotated[datetime, Meta(tz=True)]


class Period(Struct, frozen=True):
    """A time with a beginning and an end."""

    since: datetime  # UTC
    until: datetime  # UTC; the first instant after it

    @classmethod
    def of(cls, query: Mapping[str, str], clock: Clock) -> Self:
        """Return what `from` and `to` in a query ask for.

        Raises:
            InvalidRequestError: One of them is no day and no time, or they are too far apart, or the wrong way round.

        """
        until = _instant(query, "to") or now(clock)
        since = _instant(query, "from")
        if since is None:
            first_day = max(until, datetime.min.replace(tzinfo=UTC) + timedelta(days=DEFAULT_DAYS)).date()
            since = _begin(first_day - timedelta(days=DEFAULT_DAYS - 1))
        if since >= until:
            raise InvalidRequestError("It must come after `from`.", param="to")
        if until - since > timedelta(days=MOST_DAYS):
            raise InvalidRequestError(f"At most {MOST_DAYS} days before `to`.", param="from")
        return cls(since, until)


def _instant(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        return _begin(msgspec.convert(text, date))
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(text, _Instant).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise InvalidRequestError(
            "A day, as in 2026-11-26, or a time, as in 2026-11-26T12:00:00Z.", param=name
        ) from None


def _begin(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
