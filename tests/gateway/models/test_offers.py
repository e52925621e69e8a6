"""What several workers have is told as one Ollama would tell it: each model once, by what is true of it now."""

import pytest
from msgspec import Raw
from redis.asyncio import Redis

from gateway.access import SCOPES
from gateway.admission.limits import Limits
from gateway.models.catalog import ModelCatalog
from gateway.models.offers import find_offer, loaded_offers_to, lowest_version, modified_s, offers_to
from gateway.principal import Key, Principal
from shared.credential import Credential, CredentialKind
from shared.database.users import Role
from shared.errors import ModelNotFoundError, StoreUnavailableError
from shared.registry import InMemory, ModelOffer
from tests.gateway.models.announcing import catalog_of, worker_with

OLD, MIDDLE, NEW = "2025-01-01T00:00:00Z", "2025-01-01T09:00:00.5+08:00", "2025-01-01T00:00:00.639712648-02:00"
"""In the order of time, and not of text."""


def offer(name: str, modified_at: str = OLD, *, digest: str = "d", memory: InMemory | None = None) -> ModelOffer:
    return ModelOffer(name, digest=digest, size_bytes=7, modified_at=modified_at, memory=memory)


def confined_to(*models: str) -> Principal:
    """Return somebody with an API key for these models."""
    key = Key(id="k", scopes=SCOPES, models=frozenset(models))
    credential = Credential(CredentialKind.KEY, "k")
    return Principal(user_id="u", role=Role.USER, limits=Limits(), credential=credential, key=key)


async def test_a_model_of_several_workers_is_told_once_by_the_latest(redis: Redis) -> None:
    catalog = await catalog_of(
        redis,
        worker_with("1", offer("ada:latest", MIDDLE, digest="middle")),
        worker_with("2", offer("ada:latest", NEW, digest="new")),
        worker_with("3", offer("ada:latest", OLD, digest="old")),
    )

    assert [offer.digest for offer in offers_to(None, catalog)] == ["new"]


async def test_the_latest_comes_first_as_with_ollama_and_names_decide_between_equals(redis: Redis) -> None:
    catalog = await catalog_of(
        redis,
        worker_with("1", offer("a", OLD), offer("b", MIDDLE), offer("e", OLD), offer("f", "")),
        worker_with("2", offer("c", NEW), offer("d", OLD)),
    )

    assert [offer.name for offer in offers_to(None, catalog)] == ["c", "b", "a", "d", "e", "f"]


async def test_workers_that_drain_and_models_that_rest_are_left_out(redis: Redis) -> None:
    catalog = await catalog_of(
        redis,
        worker_with("1", offer("draining", memory=InMemory()), version="0.1.0", draining=True),
        worker_with("2", offer("served"), resting=("resting",)),
    )

    assert [offer.name for offer in offers_to(None, catalog)] == ["served"]
    assert loaded_offers_to(None, catalog) == []
    assert lowest_version(catalog) == "0.12.6"


async def test_a_model_in_memory_is_told_once_by_where_it_stays_longest(redis: Redis) -> None:
    catalog = await catalog_of(
        redis,
        worker_with("1", offer("ada", memory=InMemory(expires_at=OLD)), offer("bell")),
        worker_with(
            "2", offer("ada", memory=InMemory(expires_at=NEW)), offer("bell", memory=InMemory(expires_at=MIDDLE))
        ),
        worker_with("3", offer("ada")),
    )

    loaded = [(offer.name, offer.memory) for offer in loaded_offers_to(None, catalog)]

    assert loaded == [("ada", InMemory(expires_at=NEW)), ("bell", InMemory(expires_at=MIDDLE))]


async def test_a_key_for_some_models_sees_those_only(redis: Redis) -> None:
    memory = InMemory(size_bytes=1)
    worker = worker_with("1", offer("ada:latest", memory=memory), offer("adam:latest", memory=memory))
    catalog = await catalog_of(redis, worker)
    program = confined_to("adam:latest")

    assert [offer.name for offer in offers_to(program, catalog)] == ["adam:latest"]
    assert [offer.name for offer in loaded_offers_to(program, catalog)] == ["adam:latest"]
    assert find_offer("adam", program, catalog).name == "adam:latest"
    with pytest.raises(ModelNotFoundError, match=r"^Model 'ada' not found\. Did you mean adam:latest\?$"):
        find_offer("ada", program, catalog)


async def test_a_name_without_a_tag_means_latest_and_others_are_wrong(redis: Redis) -> None:
    catalog = await catalog_of(redis, worker_with("1", offer("ada:latest"), offer("hf.co/some/model:q4")))

    assert find_offer("ada", None, catalog).name == "ada:latest"
    assert find_offer("hf.co/some/model:q4", None, catalog).name == "hf.co/some/model:q4"
    for wrong in ("hf.co/some/model", "ADA", "", "/ada", "x" * 9000):
        with pytest.raises(ModelNotFoundError):
            find_offer(wrong, None, catalog)


async def test_a_long_name_does_not_come_back(redis: Redis) -> None:
    catalog = await catalog_of(redis)

    with pytest.raises(ModelNotFoundError) as refusal:
        find_offer("x" * 9000, None, catalog)

    assert len(refusal.value.message) < 300


async def test_details_are_told_as_ollama_wrote_them(redis: Redis) -> None:
    details = Raw(b'{"families":null,"parameter_size":"3.2B","new":1e400}')
    catalog = await catalog_of(redis, worker_with("1", ModelOffer("ada", "d", 7, details=details)))

    assert bytes(offers_to(None, catalog)[0].details) == bytes(details)


@pytest.mark.parametrize(
    ("modified_at", "seconds"),
    [
        pytest.param("2025-05-10T08:06:48.639712648-07:00", 1746889608, id="as Ollama writes it"),
        pytest.param("0001-01-01T00:00:00Z", 0, id="Go's zero"),
        pytest.param("0001-01-01T00:00:00+08:00", 0, id="before all time"),
        pytest.param("", 0, id="not told"),
        pytest.param("yesterday", 0, id="no time"),
    ],
)
def test_when_a_model_was_modified(modified_at: str, seconds: int) -> None:
    assert modified_s(offer("ada", modified_at)) == seconds


@pytest.mark.parametrize(
    ("versions", "lowest"),
    [
        pytest.param(["0.12.6", "0.9.10", "0.9.9"], "0.9.9", id="by number, not by text"),
        pytest.param(["0.12.6", "0.12.6-rc1"], "0.12.6-rc1", id="a candidate before its release"),
        pytest.param(["0.12.6", "", "0.13.0"], "0.12.6", id="one is out of reach"),
        pytest.param(["0.12.6", "0.0.0-demo"], "0.0.0-demo", id="the demo model"),
        pytest.param([""], None, id="all are out of reach"),
        pytest.param([], None, id="no worker"),
    ],
)
async def test_the_version_is_what_all_have_at_least(redis: Redis, versions: list[str], lowest: str | None) -> None:
    workers = [worker_with(str(number), version=version) for number, version in enumerate(versions)]

    assert lowest_version(await catalog_of(redis, *workers)) == lowest


async def test_before_the_registry_was_read_nothing_is_said_not_to_exist(redis: Redis) -> None:
    catalog = ModelCatalog(redis, queue_without_workers=True)

    for ask in (offers_to, loaded_offers_to):
        with pytest.raises(StoreUnavailableError):
            ask(None, catalog)
    with pytest.raises(StoreUnavailableError):
        lowest_version(catalog)
