from datetime import UTC, datetime

import pytest

from gateway.usage.period import DEFAULT_DAYS, MOST_DAYS, Period
from shared.errors import InvalidRequestError
from tests.clocks import TurnedClock

NOW = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)


class Noon(TurnedClock):
    """A clock that stands."""

    def now_ms(self) -> int:
        return round(NOW.timestamp() * 1000)


def day(month: int, day: int) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "since", "until"),
    [
        ({}, day(10, 28), NOW),
        ({"from": "2026-11-01"}, day(11, 1), NOW),
        ({"to": "2026-11-26"}, day(10, 28), day(11, 26)),
        ({"from": "2026-11-01", "to": "2026-12-01"}, day(11, 1), day(12, 1)),
        ({"from": "2026-11-26T02:00:00+02:00"}, day(11, 26), NOW),
        ({"from": "2026-11-26T00:00:00Z", "to": "2026-11-26T12:30:00.000Z"}, day(11, 26), NOW),
        ({"from": "2026-08-26T12:30:00Z"}, datetime(2026, 8, 26, 12, 30, tzinfo=UTC), NOW),
    ],
    ids=str,
)
def test_days_and_instants_say_when(query: dict[str, str], since: datetime, until: datetime) -> None:
    assert Period.of(query, Noon()) == Period(since, until)


def test_a_month_is_told_unless_told_otherwise() -> None:
    period = Period.of({}, Noon())
    assert (period.until.date() - period.since.date()).days + 1 == DEFAULT_DAYS


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"from": ""}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"from": "20261101"}, "from"),
        ({"from": "1790000000"}, "from"),
        ({"from": "2026-11-01T00:00:00"}, "from"),
        ({"from": "2026-11-01T00:00:00 02:00"}, "from"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from"),
        ({"to": "9999-12-31T23:59:59-14:00"}, "to"),
        ({"to": "0001-01-01"}, "to"),
        ({"from": "2026-11-26", "to": "2026-11-26"}, "to"),
        ({"from": "2026-11-27"}, "to"),
        ({"from": "2026-08-26T12:29:59Z"}, "from"),
        ({"from": "0001-01-01", "to": "9999-12-31"}, "from"),
    ],
    ids=str,
)
def test_what_is_no_time_or_too_long_is_refused_by_name(query: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        Period.of(query, Noon())
    assert refusal.value.param == param


def test_a_quarter_fits() -> None:
    assert (day(12, 31) - day(10, 1)).days <= MOST_DAYS
