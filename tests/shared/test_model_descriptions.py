"""Descriptions of models are told once, stay as long as they are renewed, and are never long."""

from msgspec import Raw
from redis.asyncio import Redis

from shared import model_descriptions
from shared.model_descriptions import MOST_BYTES, TTL_MS
from tests.key_leaks import immortal_keys

DESCRIPTION = {"model_info": Raw(b'{"general.parameter_count":3212749888}'), "license": Raw(b'"free"')}


async def test_a_description_is_read_as_it_was_written(redis: Redis) -> None:
    await model_descriptions.store(redis, "d1", DESCRIPTION)

    read = await model_descriptions.read(redis, "d1")

    assert read == b'{"model_info":{"general.parameter_count":3212749888},"license":"free"}'
    assert await model_descriptions.read(redis, "d2") is None
    assert await immortal_keys(redis) == []


async def test_renewing_tells_what_is_missing_and_keeps_the_rest(redis: Redis) -> None:
    await model_descriptions.store(redis, "d1", DESCRIPTION)
    await redis.pexpire("ds:model:d1", 5000)

    assert await model_descriptions.renew(redis, ["d1", "d2"]) == ["d2"]
    assert await redis.pttl("ds:model:d1") > TTL_MS - 60_000
    assert await model_descriptions.renew(redis, []) == []
    assert await immortal_keys(redis) == []


async def test_what_is_too_long_goes_without_what_is_needed_least(redis: Redis) -> None:
    most = Raw(b'"' + b"x" * (MOST_BYTES - 1000) + b'"')
    await model_descriptions.store(redis, "d1", {"tensors": most, "license": most, "modelfile": Raw(b'"m"')})

    read = await model_descriptions.read(redis, "d1")

    assert read == b'{"license":' + bytes(most) + b',"modelfile":"m"}'


async def test_what_is_too_long_all_the_same_goes_without_its_longest(redis: Redis) -> None:
    too_much = Raw(b'"' + b"x" * MOST_BYTES + b'"')
    await model_descriptions.store(redis, "d1", {"template": too_much, "details": Raw(b"{}"), "system": too_much})

    assert await model_descriptions.read(redis, "d1") == b'{"details":{}}'
