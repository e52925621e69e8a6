import pytest
from redis.asyncio import Redis

from gateway.models.catalog import ModelCatalog
from shared.errors import ModelNotFoundError, StoreUnavailableError
from shared.registry import ModelOffer
from tests.gateway.models.announcing import catalog_of, worker_with

SERVED = ("demo:latest", "hf.co/someone/Qwen:Q4", "llama3.2:1b", "llama3.2:3b")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        pytest.param("dem0", "demo:latest", id="a slip, without a tag"),
        pytest.param("DEMO", "demo:latest", id="upper case"),
        pytest.param("dem0:7b", "demo:latest", id="a slip, with a tag that nobody has"),
        pytest.param("demo:latset", "demo:latest", id="a slip in the tag"),
        pytest.param("llama3.2", "llama3.2:1b, llama3.2:3b", id="a tag is missing"),
        pytest.param("llama3.2:3B", "llama3.2:3b, llama3.2:1b", id="a tag in upper case"),
        pytest.param("hf.co/someone/qwen", "hf.co/someone/Qwen:Q4", id="a name with slashes"),
    ],
)
async def test_a_name_that_is_almost_right_is_told_the_full_names(redis: Redis, name: str, near: str) -> None:
    catalog = await catalog_serving(redis)

    with pytest.raises(ModelNotFoundError, match=rf"Did you mean {near}\?$"):
        catalog.resolve(name)


async def test_a_name_that_is_like_no_other_is_told_none(redis: Redis) -> None:
    catalog = await catalog_serving(redis)

    with pytest.raises(ModelNotFoundError, match=r"'0xf00' not found\.$"):
        catalog.resolve("0xf00")


async def test_before_the_registry_was_read_no_model_is_said_not_to_exist(redis: Redis) -> None:
    """As of a gateway that starts while Redis is away."""
    catalog = ModelCatalog(redis, queue_without_workers=True)

    with pytest.raises(StoreUnavailableError):
        catalog.resolve("demo")
    with pytest.raises(StoreUnavailableError):
        catalog.served()


async def test_names_stay_known_when_redis_has_lost_them(redis: Redis) -> None:
    """Their workers are alive, and announce them again before long; meanwhile a job may wait."""
    catalog = await catalog_serving(redis)
    await redis.flushall()
    await catalog.renew()

    assert catalog.served() == []
    assert catalog.resolve("demo") == "demo:latest"


async def catalog_serving(redis: Redis) -> ModelCatalog:
    """Return what a gateway knows when one worker serves `SERVED`."""
    return await catalog_of(redis, worker_with("w", *(ModelOffer(name, digest="", size_bytes=0) for name in SERVED)))
