"""A stream counts while it is sent, and no longer, also when its gateway or Redis dies."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.admission.open_streams import KEYS_AT_ONCE, OpenStreams
from gateway.admission.rate_limit import RateLimiter
from shared.demand import STREAM_LEASE_MS, Concurrency, Demand
from shared.errors import ConcurrencyLimitedError
from shared.redis_client import connect
from tests.faults.proxy import FaultProxy
from tests.waiting import wait_until

OF_USER = Concurrency("user", "ada", "streams", 2)
OF_KEY = Concurrency("key", "k", "streams", 3)


def opening(id_: str) -> Demand:
    return Demand(streams=(OF_USER, OF_KEY), stream_id=id_)


async def open_now(redis: Redis) -> list[set[bytes]]:
    return [set(await redis.zrange(limit.key, 0, -1)) for limit in (OF_USER, OF_KEY)]


async def until_open(redis: Redis, *ids: bytes) -> None:
    async def told() -> bool:
        return await open_now(redis) == [set(ids)] * 2

    await wait_until(told, description=f"the open streams are {ids}")


@pytest.fixture
async def streams(redis: Redis) -> AsyncIterator[OpenStreams]:
    streams = OpenStreams(redis)
    telling = asyncio.create_task(streams.run())
    yield streams
    telling.cancel()


async def test_admission_opens_it_and_its_end_closes_it(redis: Redis, streams: OpenStreams) -> None:
    demand = opening("a")
    await RateLimiter(redis).meet(demand)
    with streams.sending(demand):
        assert await open_now(redis) == [{b"a"}, {b"a"}]

    await until_open(redis)


async def test_one_too_many_is_refused_until_one_has_ended(redis: Redis, streams: OpenStreams) -> None:
    limiter, first = RateLimiter(redis), opening("a")
    with streams.sending(first):
        for demand in (first, opening("b")):
            await limiter.meet(demand)
        with pytest.raises(ConcurrencyLimitedError) as caught:
            await limiter.meet(opening("c"))
        assert (caught.value.scope, caught.value.unit, caught.value.most) == ("user", "streams", 2)
        assert caught.value.retry_after_s > 0

    await until_open(redis, b"b")
    await limiter.meet(opening("c"))


async def test_it_is_renewed_while_it_is_sent_and_comes_back_when_redis_forgets(redis: Redis) -> None:
    streams = OpenStreams(redis)
    with streams.sending(opening("a")):
        telling = asyncio.create_task(streams.run())  # begins with saying what is open
        await until_open(redis, b"a")
        assert 0 < await redis.pttl(OF_USER.key) <= STREAM_LEASE_MS
        telling.cancel()


async def test_very_many_are_told_in_portions(redis: Redis) -> None:
    many = KEYS_AT_ONCE + 1
    streams = OpenStreams(redis)
    opened = [streams.sending(opening(str(number))) for number in range(many)]
    for one in opened:
        one.__enter__()
    telling = asyncio.create_task(streams.run())
    await until_open(redis, *(str(number).encode() for number in range(many)))

    for one in opened:
        one.__exit__(None, None, None)

    await until_open(redis)
    telling.cancel()


async def test_an_outage_is_waited_out(redis: Redis, wire: FaultProxy) -> None:
    """What ended meanwhile counts until its lease ends, what goes on counts again at once."""
    async with connect(wire.url, role="test") as wired:
        streams = OpenStreams(wired)
        with streams.sending(opening("a")):
            wire.refuse()
            telling = asyncio.create_task(streams.run())
            wire.mend()
            await until_open(redis, b"a")
        await until_open(redis)
        telling.cancel()


async def test_what_is_not_limited_is_not_told(redis: Redis, streams: OpenStreams) -> None:
    with streams.sending(Demand(stream_id="a")):
        pass

    assert await redis.keys() == []
