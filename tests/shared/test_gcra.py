"""The arithmetic of the limiter, on a clock that the tests turn by hand."""

from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from shared import scripts
from shared.redis_client import connect

START_US = 1_700_000_000_000_000
ON_A_GIVEN_CLOCK = """
local now_us = tonumber(ARGV[1])
local verdict = gcra_check(1, 2, #KEYS, now_us)
if verdict.allowed then gcra_spend(1, verdict, now_us) end
return {verdict.allowed and 1 or 0, verdict.index or 0, verdict.retry_after_us or 0, verdict.states}
"""


class Gcra:
    """gcra.lua at whatever time it is told."""

    def __init__(self, redis: Redis) -> None:
        self._run: Any = redis.register_script(scripts.read("bucket", "gcra") + ON_A_GIVEN_CLOCK)

    async def spend(self, now_us: int, **limits: tuple[int, int, int]) -> tuple[bool, int, int, list[int]]:
        arguments = [START_US + now_us, *chain.from_iterable(limits.values())]
        allowed, index, retry_after_us, states = await self._run(list(limits), arguments)
        return bool(allowed), index, retry_after_us, states


@pytest.fixture
def gcra(redis: Redis) -> Gcra:
    return Gcra(redis)


@given(
    interval_us=st.integers(1, 10_000),
    burst=st.integers(1, 8),
    arrivals=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 8)), min_size=1, max_size=60),
)
@settings(max_examples=150, deadline=None)
async def test_no_window_passes_more_than_burst_and_rate_allow(
    redis_server: str, interval_us: int, burst: int, arrivals: list[tuple[int, int]]
) -> None:
    """Between any two moments, what passes is at most burst + elapsed / interval; and nobody is refused below that."""
    async with connect(redis_server, role="test") as redis:
        await redis.delete("limit")
        gcra = Gcra(redis)
        now_us = 0
        passed: list[tuple[int, int]] = []
        for pause_us, wanted in arrivals:
            now_us += pause_us
            cost = min(wanted, burst)
            allowed, *_ = await gcra.spend(now_us, limit=(interval_us, burst, cost))
            would_pass = [*passed, (now_us, cost)]
            fits_every_window = all(
                interval_us * sum(spent for at_us, spent in would_pass if at_us >= begin_us)
                <= interval_us * burst + now_us - begin_us
                for begin_us, _ in would_pass
            )
            assert allowed == fits_every_window
            if allowed:
                passed = would_pass


async def test_refusal_says_exactly_when_the_next_passes(gcra: Gcra) -> None:
    for _ in range(3):
        assert (await gcra.spend(0, limit=(1_000, 3, 1)))[0]

    allowed, index, retry_after_us, states = await gcra.spend(400, limit=(1_000, 3, 1))

    assert (allowed, index, retry_after_us, states) == (False, 1, 600, [0, 2_600])
    assert not (await gcra.spend(400 + 599, limit=(1_000, 3, 1)))[0]
    assert (await gcra.spend(400 + 600, limit=(1_000, 3, 1)))[0]


async def test_a_refused_request_spends_nothing_of_any_limit(gcra: Gcra, redis: Redis) -> None:
    """All limits are checked before any is spent, whichever of them refuses."""
    await gcra.spend(0, tight=(1_000, 1, 1))
    before = await redis.get("tight")

    for order in (("tight", "wide"), ("wide", "tight")):
        limits = {"tight": (1_000, 1, 1), "wide": (1_000, 9, 4)}
        assert not (await gcra.spend(10, **{name: limits[name] for name in order}))[0]

    assert await redis.get("wide") is None
    assert await redis.get("tight") == before


async def test_of_several_refusals_the_longest_wait_is_told(gcra: Gcra) -> None:
    limits = {"open": (1, 100, 1), "soon": (1_000, 1, 1), "late": (5_000, 1, 1)}
    await gcra.spend(0, **limits)

    allowed, index, retry_after_us, _ = await gcra.spend(0, **limits)

    assert (allowed, index, retry_after_us) == (False, 3, 5_000)
    assert (await gcra.spend(5_000, **limits))[0]


async def test_states_count_what_is_left_after_spending(gcra: Gcra) -> None:
    _, _, _, states = await gcra.spend(0, first=(1_000, 5, 2), second=(10, 3, 3))

    assert states == [3, 2_000, 0, 30]


async def test_a_limit_that_was_never_spent_needs_no_key(gcra: Gcra) -> None:
    assert await gcra.spend(0) == (True, 0, 0, [])


async def test_a_clock_that_is_set_back_locks_nobody_out(gcra: Gcra) -> None:
    """However far back: what was spent refills from then on, also when nothing passes meanwhile."""
    hour_us = 3_600_000_000
    await gcra.spend(hour_us, limit=(1_000, 3, 3))

    assert (await gcra.spend(0, limit=(1_000, 3, 1)))[2] == 1_000
    assert (await gcra.spend(999, limit=(1_000, 3, 1)))[2] == 1
    assert (await gcra.spend(1_000, limit=(1_000, 3, 1)))[0]


async def test_a_key_lives_a_second_longer_than_the_limit_needs(gcra: Gcra, redis: Redis) -> None:
    """Between a ms and a minute: neither lost before the limit is whole, nor left behind."""
    await gcra.spend(0, limit=(2_000_000, 30, 10))

    ttl_ms = await redis.pttl("limit")
    assert 20_000 < ttl_ms <= 21_000
