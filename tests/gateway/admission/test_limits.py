import msgspec
import pytest

from gateway.admission.limits import Limits, OwnLimits, Priority
from gateway.admission.settings import RateLimitSettings

OWNER = Limits(requests_per_minute=60, tokens_per_minute=None, concurrent_jobs=8, open_streams=4)


def own(text: str) -> OwnLimits:
    return msgspec.json.decode(text, type=OwnLimits)


def test_the_settings_hold_for_whom_nothing_else_is_said() -> None:
    settings = RateLimitSettings(
        rate_limit_requests_per_minute=1,
        rate_limit_tokens_per_minute=2,
        rate_limit_concurrent_jobs=3,
        rate_limit_open_streams=4,
    )

    assert own("{}").over(Limits.of(settings)) == Limits(1, 2, 3, 4, Priority.INTERACTIVE)


def test_what_is_said_of_somebody_counts_and_null_lifts_a_limit() -> None:
    said = own('{"requests_per_minute": 600, "concurrent_jobs": null, "priority": "batch"}')

    assert said.over(OWNER) == Limits(600, None, None, 4, Priority.BATCH)


def test_who_is_bound_by_two_may_take_the_lower_of_each() -> None:
    of_key = Limits(requests_per_minute=600, tokens_per_minute=50, open_streams=2, priority=Priority.BATCH)

    assert OWNER.lowered_by(of_key) == of_key.lowered_by(OWNER) == Limits(60, 50, 8, 2, Priority.BATCH)


@pytest.mark.parametrize(
    ("said", "higher"),
    [
        ("{}", None),
        ('{"requests_per_minute": 60, "tokens_per_minute": 1000000, "priority": "batch"}', None),
        ('{"requests_per_minute": 61}', "requests_per_minute"),
        ('{"requests_per_minute": null}', "requests_per_minute"),
        ('{"tokens_per_minute": null}', None),
        ('{"open_streams": 1, "concurrent_jobs": 9}', "concurrent_jobs"),
    ],
)
def test_a_key_exceeds_its_owner_by_what_is_higher(said: str, higher: str | None) -> None:
    assert own(said).exceeds(OWNER) == higher


def test_a_key_of_who_waits_behind_others_does_not_go_first() -> None:
    assert own('{"priority": "interactive"}').exceeds(Limits(priority=Priority.BATCH)) == "priority"


@pytest.mark.parametrize(
    "text",
    [
        '{"requests_per_minute": 0}',
        '{"open_streams": -1}',
        '{"priority": "first"}',
        '{"burst": 1}',
        '{"tokens_per_minute": 1.5}',
    ],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        own(text)


def test_it_is_stored_as_it_was_said() -> None:
    text = '{"requests_per_minute":5,"concurrent_jobs":null,"priority":"batch"}'

    assert msgspec.json.encode(own(text)).decode() == text
