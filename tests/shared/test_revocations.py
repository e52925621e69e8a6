"""What is revoked is known for longer than anybody may believe otherwise, and told to every gateway at once."""

import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.errors import StoreUnavailableError
from shared.redis_client import connect
from shared.revocations import FRESH_S, GRACE_S, Revocations, published
from tests.listening import listening


@pytest.fixture
def revocations(redis: Redis) -> Revocations:
    return Revocations(redis)


async def test_what_is_revoked_is_found_among_others(revocations: Revocations) -> None:
    await revocations.revoke("key:1", "session:2")
    assert await revocations.among(["session:1", "session:2", "key:1", "user:1"]) == {"key:1", "session:2"}
    assert await revocations.among([]) == set()


async def test_it_is_known_for_longer_than_a_gateway_may_believe_otherwise(
    revocations: Revocations, redis: Redis
) -> None:
    await revocations.revoke("key:1")
    assert await redis.pttl(redis_keys.REVOKED + "key:1") > (GRACE_S + FRESH_S) * 1000


async def test_all_of_it_is_told_at_once(revocations: Revocations, redis: Redis) -> None:
    async with listening(redis, redis_keys.REVOCATIONS_CHANNEL) as hear:
        await revocations.revoke("key:1", "user:2")
        assert published(await hear()) == ["key:1", "user:2"]


async def test_nothing_is_told_when_nothing_is_revoked(revocations: Revocations, redis: Redis) -> None:
    async with listening(redis, redis_keys.REVOCATIONS_CHANNEL) as hear:
        await revocations.revoke()
        await revocations.revoke("key:1")
        assert published(await hear()) == ["key:1"]


async def test_without_redis_nobody_is_told_that_it_was_done(free_port: int) -> None:
    async with connect(f"redis://127.0.0.1:{free_port}/0", role="test") as nowhere:
        for act in (Revocations(nowhere).revoke("key:1"), Revocations(nowhere).among(["key:1"])):
            with pytest.raises(StoreUnavailableError):
                await act
