"""Limits so slow that nothing comes back while a test runs: as good as a clock that stands."""

from redis.asyncio import Redis

from shared.demand import MINUTE_US, Demand, Limit


def tokens(cost: int, *, name: str = "alice", scope: str = "user", burst: int = 1000) -> Limit:
    """Return a limit of tokens, of which one a minute comes back, and what a request costs of it."""
    return Limit(scope=scope, name=name, per_minute=1, burst=burst, cost=cost, unit="tokens")


def reserving(cost: int, *, prompt: int = 0) -> Demand:
    """Return what a request of alice demands that reserves so many tokens."""
    return Demand(tokens=(tokens(cost),), prompt_tokens=prompt)


async def spent(redis: Redis, limit: Limit) -> int:
    """Return how much of a limit is spent, also beyond all of it."""
    state = await redis.get(limit.key)
    if state is None:
        return 0
    seconds, micros = await redis.time()
    interval_us = MINUTE_US // limit.per_minute
    return -(-(int(state.split()[0]) - seconds * 1_000_000 - micros) // interval_us)
