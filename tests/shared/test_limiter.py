"""The limiter against a model of it that a person can check, on a clock that jumps."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test
from msgspec import Struct
from redis import Redis

from shared import scripts
from shared.demand import MINUTE_US, Demand, Limit

START_US = 1_700_000_000_000_000
NAMES: Sequence[str] = ("user", "key", "address")
ON_A_GIVEN_CLOCK = """
local now_us = tonumber(ARGV[2])
if ARGV[1] == 'charge' then
  for index, bucket in ipairs(KEYS) do bucket_charge(bucket, now_us, tonumber(ARGV[2 + index])) end
  return 0
end
local demand = read_demand(1, 3)
local verdict = check_demand(demand, ARGV[1] == 'attach', now_us)
if verdict.refusal then return verdict.refusal end
meet_demand(demand, verdict, now_us)
return {'passed', verdict.states}
"""


class Bucket(Struct):
    """What a rate lacked of being whole when that was last changed; it refills by a µs for each µs that passes."""

    lacked_us: int = 0
    at_us: int = 0

    def look(self, now_us: int) -> int:
        """Return what it lacks now; where the clock was set back behind the last change, time begins anew."""
        self.at_us = min(self.at_us, now_us)
        return max(self.lacked_us - (now_us - self.at_us), 0)


class Passed(Struct, frozen=True):
    """A request that passed, and what it has reserved."""

    limits: tuple[Limit, ...]  # of tokens
    reserved: int


class Limiter(RuleBasedStateMachine):
    """Requests come, jobs end, limits change, and the clock goes on or is set back."""

    passed = Bundle("passed")

    redis: Redis

    def __init__(self) -> None:
        super().__init__()
        self.redis.flushall()
        self.run: Any = self.redis.register_script(scripts.read("bucket", "gcra", "demand") + ON_A_GIVEN_CLOCK)
        self.now_us = START_US
        self.per_minute = dict.fromkeys(NAMES, 6)
        self.burst = dict.fromkeys(NAMES, 6)
        self.buckets: dict[str, Bucket] = {}

    def teardown(self) -> None:
        """Every key expires."""
        keys: Any = self.redis.keys()
        for key in keys:
            assert int(str(self.redis.pttl(key))) > 0

    def call(self, act: str, keys: list[str], arguments: list[Any]) -> list[Any]:
        return self.run(keys, [act, self.now_us, *arguments])

    def bucket(self, limit: Limit) -> Bucket:
        return self.buckets.setdefault(limit.key, Bucket())

    def limit(self, scope: str, cost: int, unit: Literal["requests", "tokens"]) -> Limit:
        burst = self.burst[scope]
        return Limit(scope, "x", self.per_minute[scope], burst, min(cost, burst), unit)

    @rule(
        target=passed,
        requests=st.sets(st.sampled_from(NAMES)),
        tokens=st.sets(st.sampled_from(NAMES[:2])),
        cost=st.integers(1, 9),
        attaches=st.booleans(),
    )
    def ask(self, requests: set[str], tokens: set[str], cost: int, *, attaches: bool) -> Passed:
        """All limits pass and are spent from, or nothing is; the answer is exact."""
        of_requests = tuple(self.limit(scope, 1, "requests") for scope in sorted(requests))
        reserved = min([cost, *(self.burst[scope] for scope in tokens)])
        of_tokens = tuple(self.limit(scope, reserved, "tokens") for scope in sorted(tokens))
        demand = Demand(requests=of_requests, tokens=of_tokens)

        reply = self.call("attach" if attaches else "ask", demand.keys, demand.arguments)

        limits = of_requests if attaches else (*of_requests, *of_tokens)
        lacks = [self.bucket(limit).look(self.now_us) for limit in limits]
        wholes = [interval_us(limit) * limit.burst for limit in limits]
        wanted = [interval_us(limit) * limit.cost for limit in limits]
        waits = [lack + want - whole for lack, want, whole in zip(lacks, wanted, wholes, strict=True)]
        if max(waits, default=0) > 0:
            assert reply == [b"limited", 1 + waits.index(max(waits)), max(waits), states(limits, lacks)]
            return Passed((), 0)
        lacks = [lack + want for lack, want in zip(lacks, wanted, strict=True)]
        assert reply == [b"passed", states(limits, lacks)]
        for limit, lack in zip(limits, lacks, strict=True):
            self.buckets[limit.key] = Bucket(lack, self.now_us)
        return Passed(() if attaches else of_tokens, reserved)

    @rule(request=consumes(passed), used=st.integers(0, 40))
    def end(self, request: Passed, used: int) -> None:
        """A job has used more or less than was reserved for it."""
        over = used - request.reserved
        self.call("charge", [limit.key for limit in request.limits], [interval_us(it) * over for it in request.limits])
        for limit in request.limits:
            lacks = self.bucket(limit).look(self.now_us)
            self.buckets[limit.key] = Bucket(max(lacks + interval_us(limit) * over, 0), self.now_us)

    @rule(seconds=st.integers(0, 200), micros=st.integers(0, 999_999))
    def wait(self, seconds: int, micros: int) -> None:
        self.now_us += seconds * 1_000_000 + micros

    @rule(seconds=st.integers(1, 100_000))
    def set_the_clock_back(self, seconds: int) -> None:
        self.now_us -= seconds * 1_000_000

    @rule(scope=st.sampled_from(NAMES), per_minute=st.integers(1, 60), burst=st.integers(1, 60))
    def change(self, scope: str, per_minute: int, burst: int) -> None:
        """What was spent before stays spent."""
        self.per_minute[scope], self.burst[scope] = per_minute, burst


def interval_us(limit: Limit) -> int:
    return -(-MINUTE_US // limit.per_minute)


def states(limits: tuple[Limit, ...], lacks: list[int]) -> list[int]:
    """Return what is told of limits: what remains, and when they are whole."""
    told: list[int] = []
    for limit, lack in zip(limits, lacks, strict=True):
        told += [max((interval_us(limit) * limit.burst - lack) // interval_us(limit), 0), lack]
    return told


@pytest.fixture
def blocking_redis(redis_server: str) -> Iterator[Redis]:
    """A client that a state machine can use, which is not asynchronous."""
    with Redis.from_url(redis_server) as redis:
        yield redis


def test_the_limiter_does_what_its_model_does(blocking_redis: Redis) -> None:
    class WithRedis(Limiter):
        redis = blocking_redis

    run_state_machine_as_test(WithRedis, settings=settings(max_examples=100, stateful_step_count=40, deadline=None))
