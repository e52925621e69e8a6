import asyncio
from collections import Counter

import pytest
from redis.asyncio import Redis

from gateway.admission.rate_limit import Limit, LimitState, RateLimiter, address_name
from shared import redis_keys
from shared.errors import RateLimitedError, StoreUnavailableError
from shared.redis_client import connect

BURST = 50


def one_per_minute(name: str, *, burst: int = BURST, cost: int = 1) -> Limit:
    """So slow that nothing comes back while a test runs: as good as a clock that stands."""
    return Limit(scope="user", name=name, per_minute=1, burst=burst, cost=cost)


@pytest.fixture
def unreachable_redis(free_port: int) -> Redis:
    return connect(f"redis://127.0.0.1:{free_port}/0", role="test")


@pytest.fixture
def limiter(redis: Redis) -> RateLimiter:
    return RateLimiter(redis)


async def attempt(limiter: RateLimiter, *limits: Limit) -> str:
    try:
        await limiter.spend(*limits)
    except RateLimitedError:
        return "refused"
    return "passed"


async def test_of_200_at_once_exactly_the_burst_passes(limiter: RateLimiter) -> None:
    outcomes = await asyncio.gather(*(attempt(limiter, one_per_minute("ada")) for _ in range(200)))

    assert Counter(outcomes) == {"passed": BURST, "refused": 200 - BURST}


async def test_limits_of_different_parties_are_apart(limiter: RateLimiter) -> None:
    await limiter.spend(one_per_minute("ada", burst=1))

    assert await attempt(limiter, one_per_minute("ada", burst=1)) == "refused"
    assert await attempt(limiter, one_per_minute("bob", burst=1)) == "passed"


async def test_what_is_refused_at_once_with_others_spends_nothing(limiter: RateLimiter) -> None:
    """Both limits pass or neither is spent from, however the requests interleave."""
    narrow, wide = one_per_minute("narrow", burst=10), one_per_minute("wide", burst=BURST)

    await asyncio.gather(*(attempt(limiter, wide, narrow) for _ in range(100)))

    [state] = await limiter.spend(wide)
    assert state.remaining == BURST - 10 - 1


async def test_the_refusal_carries_what_a_client_needs(limiter: RateLimiter) -> None:
    limit = one_per_minute("ada", burst=2)
    await limiter.spend(limit)
    await limiter.spend(limit)

    with pytest.raises(RateLimitedError) as caught:
        await limiter.spend(limit)

    error = caught.value
    assert (error.scope, error.per_minute, error.remaining) == ("user", 1, 0)
    assert 0 < error.retry_after_s <= 60
    assert error.reset_s == pytest.approx(error.retry_after_s + 60)


async def test_the_states_tell_what_is_left(limiter: RateLimiter) -> None:
    first, second = one_per_minute("ada", burst=5, cost=2), one_per_minute("bob", burst=3)

    states = await limiter.spend(first, second)

    assert states == (
        LimitState(limit=first, remaining=3, reset_s=120.0),
        LimitState(limit=second, remaining=2, reset_s=60.0),
    )


async def test_every_key_expires(limiter: RateLimiter, redis: Redis) -> None:
    await limiter.spend(one_per_minute("ada"), one_per_minute("bob"))

    keys = await redis.keys(redis_keys.LIMIT + "*")
    assert len(keys) == 2
    for key in keys:
        assert 0 < await redis.pttl(key) <= 61_000


async def test_a_script_that_redis_forgot_is_sent_again(limiter: RateLimiter, redis: Redis) -> None:
    await limiter.spend(one_per_minute("ada"))
    await redis.script_flush()

    [state] = await limiter.spend(one_per_minute("ada"))

    assert state.remaining == BURST - 2


async def test_without_limits_everything_passes_without_redis(unreachable_redis: Redis) -> None:
    assert await RateLimiter(unreachable_redis).spend() == ()


async def test_without_redis_nothing_passes(unreachable_redis: Redis) -> None:
    limiter = RateLimiter(unreachable_redis)

    with pytest.raises(StoreUnavailableError) as caught:
        await limiter.spend(one_per_minute("ada"))

    assert caught.value.retry_after_s > 0


@pytest.mark.parametrize(
    ("per_minute", "burst", "cost"), [(0, 1, 1), (60_000_001, 1, 1), (60, 0, 1), (60, 5, 6), (60, 5, 0)]
)
def test_a_limit_that_could_never_pass_is_a_mistake(per_minute: int, burst: int, cost: int) -> None:
    with pytest.raises(ValueError, match="no such limit"):
        Limit(scope="user", name="ada", per_minute=per_minute, burst=burst, cost=cost)


@pytest.mark.parametrize("per_minute", [1, 7, 60, 61, 1_000, 59_999, 60_000_000])
def test_the_interval_never_allows_more_than_the_limit(per_minute: int) -> None:
    interval_us, *_ = Limit(scope="user", name="ada", per_minute=per_minute, burst=1).arguments

    assert interval_us * per_minute >= 60_000_000 > (interval_us - 1) * per_minute


@pytest.mark.parametrize(
    ("address", "name"),
    [
        pytest.param("192.0.2.7", "192.0.2.7", id="IPv4 by itself"),
        pytest.param("::ffff:192.0.2.7", "192.0.2.7", id="IPv4 on a dual-stack socket"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", id="IPv6 by its /64"),
        pytest.param("unknown", "unknown", id="no address at all"),
    ],
)
def test_addresses_are_limited_by_what_one_customer_has(address: str, name: str) -> None:
    assert address_name(address) == name
