"""How the wait grows with failures, on a clock that the tests turn by hand."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from shared import scripts
from shared.redis_client import connect

START_MS = 1_700_000_000_000
ON_A_GIVEN_CLOCK = """
local now_ms = tonumber(ARGV[1])
local party = failures_read(KEYS[1], ARGV, 2, now_ms)
if party.wait_ms == 0 then failures_count(party, now_ms) end
return {party.wait_ms, party.failures}
"""
FREE, FORGET_MS, LONGEST_MS = 3, 60_000, 16_000


class Failures:
    """failures.lua at whatever time it is told."""

    def __init__(self, redis: Redis) -> None:
        self._run: Any = redis.register_script(scripts.read("failures") + ON_A_GIVEN_CLOCK)

    async def fail(
        self, now_ms: int, *, free: int = FREE, forget_ms: int = FORGET_MS, longest_ms: int = LONGEST_MS
    ) -> int:
        """Fail, or return how many ms must pass before that."""
        wait_ms, _ = await self._run(["party"], [START_MS + now_ms, free, forget_ms, longest_ms])
        return wait_ms


@pytest.fixture
def failures(redis: Redis) -> Failures:
    return Failures(redis)


async def test_the_wait_doubles_up_to_the_longest(failures: Failures) -> None:
    now_ms, waits = 0, list[int]()
    for _ in range(10):
        waits.append(await failures.fail(now_ms))
        now_ms += waits[-1]
        if waits[-1]:
            assert await failures.fail(now_ms - 1) == 1  # exact: a ms earlier is too early
            assert await failures.fail(now_ms) == 0

    assert waits == [0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 16_000, 16_000]


async def test_who_waits_is_not_made_to_wait_longer_for_asking(failures: Failures) -> None:
    for _ in range(FREE):
        await failures.fail(0)

    assert [await failures.fail(now_ms) for now_ms in (0, 400, 999, 1_000)] == [1_000, 600, 1, 0]


async def test_failures_are_forgotten_one_by_one(failures: Failures) -> None:
    for _ in range(FREE):
        await failures.fail(0)

    assert await failures.fail(FORGET_MS) == 0  # one is forgotten, and this makes up for it
    assert await failures.fail(FORGET_MS) == 1_000


async def test_what_the_longest_wait_does_not_need_is_not_remembered(failures: Failures) -> None:
    """Otherwise a week of attacks would take a week to be forgotten."""
    now_ms = 0
    for _ in range(1_000):
        now_ms += await failures.fail(now_ms, forget_ms=LONGEST_MS * 2)

    calm_ms = now_ms + (FREE + 5) * LONGEST_MS * 2
    assert [await failures.fail(calm_ms, forget_ms=LONGEST_MS * 2) for _ in range(FREE)] == [0] * FREE


async def test_a_clock_that_is_set_back_locks_nobody_out(failures: Failures) -> None:
    hour_ms = 3_600_000
    for _ in range(FREE):
        await failures.fail(hour_ms)

    assert await failures.fail(0) == 1_000
    assert await failures.fail(1_000) <= 1_000


async def test_the_state_expires_when_all_is_forgotten(failures: Failures, redis: Redis) -> None:
    for _ in range(FREE):
        await failures.fail(0)

    assert FREE * FORGET_MS < await redis.pttl("party") <= FREE * FORGET_MS + 1_000


@given(
    free=st.integers(1, 6),
    forget_ms=st.integers(500, 60_000),
    longest_ms=st.sampled_from([1_000, 8_000, 60_000]),
    pauses_ms=st.lists(st.integers(0, 20_000), min_size=1, max_size=40),
)
@settings(max_examples=100, deadline=None)
async def test_nobody_waits_longer_than_the_longest_nor_guesses_more_often_than_allowed(
    redis_server: str, free: int, forget_ms: int, longest_ms: int, pauses_ms: list[int]
) -> None:
    """Whoever has used up what is free and gets on with it, passes at most once per second from then on."""
    async with connect(redis_server, role="test") as redis:
        await redis.delete("party")
        failures = Failures(redis)
        now_ms = 0
        passed_ms: list[int] = []
        for pause_ms in pauses_ms:
            now_ms += pause_ms
            wait_ms = await failures.fail(now_ms, free=free, forget_ms=forget_ms, longest_ms=longest_ms)
            assert 0 <= wait_ms <= longest_ms
            if wait_ms == 0:
                passed_ms.append(now_ms)
            forgotten = now_ms // forget_ms
            assert len(passed_ms) <= free + forgotten + now_ms // 1_000
