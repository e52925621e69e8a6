import pytest
from msgspec import Struct, structs

from gateway.admission.limits import Limits
from gateway.admission.policy import LimitPolicy
from gateway.admission.settings import RateLimitSettings
from gateway.admission.token_estimate import TokenEstimate, estimate_tokens
from shared.demand import NO_LIMITS, Concurrency, Demand, Limit
from shared.errors import ExceedsTokenLimitError

ADDRESS = "192.0.2.1"
SETTINGS = RateLimitSettings(
    rate_limit_requests_per_minute=60,
    rate_limit_burst=10,
    rate_limit_tokens_per_minute=5000,
    tokens_reserve_default=1000,
    rate_limit_address_requests_per_minute=600,
)
POLICY = LimitPolicy(SETTINGS)
OF_ADDRESS = Limit("address", ADDRESS, per_minute=600, burst=600)


class Key(Struct, frozen=True):
    id: str
    limits: Limits


class User(Struct, frozen=True):
    user_id: str
    limits: Limits
    key: Key | None = None


ADA = User("ada", Limits.of(SETTINGS))


def with_key(limits: Limits) -> User:
    return structs.replace(ADA, key=Key("k", limits))


def of_job(user: User, *, prompt: int = 100, answer: int | None = None, stream_id: str | None = None) -> Demand:
    return POLICY.of_job(user, ADDRESS, estimate=TokenEstimate(prompt, answer), stream_id=stream_id)


class TestRates:
    def test_a_user_pays_for_requests_and_so_does_the_address(self) -> None:
        assert POLICY.of_user(ADA, ADDRESS) == (Limit("user", "ada", per_minute=60, burst=10), OF_ADDRESS)

    def test_a_key_with_a_limit_of_its_own_pays_too_and_its_burst_is_that(self) -> None:
        user, key, address = POLICY.of_user(with_key(Limits(requests_per_minute=5)), ADDRESS)

        assert (user.burst, key, address) == (10, Limit("key", "k", per_minute=5, burst=5), OF_ADDRESS)

    @pytest.mark.parametrize("per_minute", [3, 600])
    def test_the_burst_of_who_has_another_limit_is_that_limit(self, per_minute: int) -> None:
        user, _ = POLICY.of_user(User("ada", Limits(requests_per_minute=per_minute)), ADDRESS)

        assert user.burst == per_minute

    def test_who_is_not_limited_leaves_it_to_the_address(self) -> None:
        assert POLICY.of_user(User("ada", Limits()), ADDRESS) == (OF_ADDRESS,)


class TestTokens:
    def test_user_and_key_reserve_the_same(self) -> None:
        demand = of_job(with_key(Limits(tokens_per_minute=2000)), answer=300)

        assert demand.tokens == (
            Limit("user", "ada", per_minute=5000, burst=5000, cost=400, unit="tokens"),
            Limit("key", "k", per_minute=2000, burst=2000, cost=400, unit="tokens"),
        )
        assert demand.prompt_tokens == 100

    def test_an_answer_of_which_nothing_is_said_is_reserved_by_default_as_far_as_that_fits(self) -> None:
        assert [limit.cost for limit in of_job(ADA).tokens] == [1100]
        assert [limit.cost for limit in of_job(with_key(Limits(tokens_per_minute=500))).tokens] == [500, 500]

    @pytest.mark.parametrize(
        ("prompt", "answer", "param"),
        [(5001, None, "messages"), (5001, 5, "messages"), (100, 4901, "options.num_predict")],
    )
    def test_what_needs_more_than_there_is_in_all_is_refused(self, prompt: int, answer: int | None, param: str) -> None:
        with pytest.raises(ExceedsTokenLimitError) as caught:
            of_job(ADA, prompt=prompt, answer=answer)

        assert caught.value.param == param
        assert of_job(ADA, prompt=100, answer=4900).tokens[0].cost == 5000

    def test_the_smallest_limit_counts(self) -> None:
        with pytest.raises(ExceedsTokenLimitError):
            of_job(with_key(Limits(tokens_per_minute=100)), prompt=100, answer=1)

    def test_who_is_not_limited_reserves_nothing(self) -> None:
        assert of_job(User("ada", Limits()), prompt=10**9).tokens == ()


class TestConcurrency:
    def test_jobs_and_streams_of_user_and_key_are_counted(self) -> None:
        demand = of_job(with_key(Limits(concurrent_jobs=2, open_streams=1)), stream_id="s")

        assert demand.jobs == (Concurrency("user", "ada", "jobs", 100), Concurrency("key", "k", "jobs", 2))
        assert demand.streams == (Concurrency("user", "ada", "streams", 100), Concurrency("key", "k", "streams", 1))
        assert demand.stream_id == "s"

    def test_a_whole_answer_is_no_stream(self) -> None:
        assert of_job(ADA).streams == ()

    def test_a_stream_that_is_read_again_is_no_job(self) -> None:
        demand = POLICY.of_stream(ADA, ADDRESS, stream_id="s")

        assert (demand.jobs, demand.tokens) == ((), ())
        assert demand.streams == (Concurrency("user", "ada", "streams", 100),)
        assert demand.requests == POLICY.of_user(ADA, ADDRESS)


def test_the_switch_switches_everything_off() -> None:
    off = LimitPolicy(structs.replace(SETTINGS, rate_limit_enabled=False))

    assert off.of_address(ADDRESS) == off.of_user(ADA, ADDRESS) == ()
    assert off.of_stream(ADA, ADDRESS, stream_id="s") == NO_LIMITS
    of_job = off.of_job(ADA, ADDRESS, estimate=TokenEstimate(10**9, None), stream_id="s")
    assert of_job == Demand(prompt_tokens=10**9)  # which usage is told by all the same


@pytest.mark.parametrize(
    ("text_bytes", "images", "num_predict", "estimate"),
    [
        pytest.param(0, 0, 5, TokenEstimate(0, 5), id="nothing but an answer"),
        pytest.param(401, 0, None, TokenEstimate(101, None), id="4 bytes a token, rounded up"),
        pytest.param(4, 2, 0, TokenEstimate(2049, 0), id="1024 tokens an image"),
        pytest.param(4, 0, -1, TokenEstimate(1, None), id="an answer without bound"),
    ],
)
def test_a_request_is_estimated_by_its_size(
    text_bytes: int, images: int, num_predict: int | None, estimate: TokenEstimate
) -> None:
    assert estimate_tokens(text_bytes=text_bytes, images=images, num_predict=num_predict) == estimate
