from gateway.admission.rate_limit import Limit, LimitState, refusal
from gateway.admission.rate_limit_headers import rate_limit_headers, refusal_headers
from gateway.error_responses import answer

USER = LimitState(limit=Limit(scope="user", name="ada", per_minute=60, burst=60), remaining=50, reset_s=9.2)
ADDRESS = LimitState(limit=Limit(scope="address", name="::1", per_minute=600, burst=600), remaining=599, reset_s=0.1)


def test_every_limit_is_told_and_time_is_rounded_up() -> None:
    assert rate_limit_headers((USER, ADDRESS)) == {
        "RateLimit-Policy": '"user";q=60;w=60, "address";q=600;w=60',
        "RateLimit": '"user";r=50;t=10, "address";r=599;t=1',
    }


def test_where_nothing_is_limited_nothing_is_told() -> None:
    assert rate_limit_headers(()) == {}


def test_a_refusal_tells_of_every_limit() -> None:
    used_up = LimitState(limit=USER.limit, remaining=0, reset_s=59.5)

    error = refusal([ADDRESS, used_up], index=2, retry_after_us=500_000)

    assert refusal_headers(error) == {
        "RateLimit-Policy": '"address";q=600;w=60, "user";q=60;w=60',
        "RateLimit": '"address";r=599;t=1, "user";r=0;t=60',
    }
    assert error.retry_after_s == 0.5


def test_the_answer_429_carries_them_beside_retry_after() -> None:
    response = answer(refusal([USER], index=1, retry_after_us=1_200_000), "/v1/chat")

    assert response.status_code == 429
    assert response.headers == {
        "Retry-After": "2",
        "RateLimit-Policy": '"user";q=60;w=60',
        "RateLimit": '"user";r=50;t=10',
    }
