import math
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from gateway.metrics.declared import MOST_MODELS, Metrics
from gateway.metrics.scrape import Scraper
from gateway.models.catalog import ModelCatalog
from infra.local.logins import Passwords
from infra.local.program import start
from infra.local.valkey import valkey
from shared import redis_keys
from shared.ids import new_id
from shared.job_queue import WORKER_LEASE_MS
from shared.redis_client import connect
from shared.registry import Announcement, InMemory, ModelOffer, announce, withdraw

Sample = tuple[str, tuple[tuple[str, str], ...]]


def offer(name: str, *, loaded: bool = False) -> ModelOffer:
    return ModelOffer(name=name, digest="", size_bytes=1, memory=InMemory() if loaded else None)


def worker(id_: str, *models: ModelOffer, draining: bool = False, resting: tuple[str, ...] = ()) -> Announcement:
    return Announcement(
        id=id_,
        host=f"gpu-{id_}",
        pid=7,
        models=models,
        slots=4,
        max_jobs=6,
        ollama_version="",
        draining=draining,
        resting=resting,
        tasks=9,
    )


class Figures:
    """Takes scrapes and looks values up in the newest one."""

    def __init__(self, redis: Redis) -> None:
        self.metrics = Metrics()
        self._catalog = ModelCatalog(redis, queue_without_workers=True)
        self._scraper = Scraper(self.metrics, redis, self._catalog)
        self._values: dict[Sample, float] = {}

    async def renew(self) -> None:
        await self._catalog.renew()
        await self.scrape()

    async def scrape(self) -> None:
        body, _ = await self._scraper.scrape("text/plain")
        self._values = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._values.get((f"deepersensor_{name}", tuple(sorted(labels.items()))))


def made_before(seconds: int) -> str:
    """Return the id of a job that was admitted that long ago."""
    made_ms = f"{int((time.time() - seconds) * 1000):012x}"
    return f"{made_ms[:8]}-{made_ms[8:]}{new_id()[13:]}"


@pytest.fixture
def figures(redis: Redis) -> Figures:
    return Figures(redis)


async def test_queues_and_workers_are_shown_as_redis_has_them(redis: Redis, figures: Figures) -> None:
    await announce(redis, worker("1", offer("a", loaded=True), offer("b")), lease_ms=WORKER_LEASE_MS - 1000)
    await announce(redis, worker("2", offer("a"), draining=True, resting=("b",)), lease_ms=WORKER_LEASE_MS)
    await redis.zadd(redis_keys.WAITING + "a", {made_before(60): 1, new_id(): 2})
    await redis.zadd(redis_keys.RUNNING + "a", {new_id(): 1})
    await redis.zadd(redis_keys.DELAYED + "b", {new_id(): 1})

    await figures.renew()

    assert [figures("queue_depth", model=model) for model in "ab"] == [2, 0]
    assert [figures("queue_delayed", model=model) for model in "ab"] == [0, 1]
    assert [figures("jobs_running", model=model) for model in "ab"] == [1, 0]
    assert [figures("model_slots", model=model) for model in "ab"] == [4, 4]  # a draining worker has none to give
    assert [figures("model_loaded", model=model) for model in "ab"] == [1, 0]
    assert [figures("model_resting", model=model) for model in "ab"] == [None, 1]
    assert [figures("workers", state=state) for state in ("serving", "draining")] == [1, 1]
    assert (figures("worker_heartbeat_age_seconds", worker="gpu-1-7") or 0) >= 1
    assert figures("worker_tasks", worker="gpu-1-7") == 9
    assert (figures("asyncio_tasks") or 0) >= 1
    assert (figures("queue_oldest_age_seconds", model="a") or 0) >= 60
    assert figures("queue_oldest_age_seconds", model="b") == 0
    assert figures("redis_up") == 1


async def test_what_is_gone_is_not_shown_any_more(redis: Redis, figures: Figures) -> None:
    await announce(redis, worker("1", offer("a", loaded=True)), lease_ms=WORKER_LEASE_MS)
    await figures.renew()
    assert figures("workers", state="serving") == 1

    await withdraw(redis, "1")
    await figures.renew()

    assert figures("workers", state="serving") == 0
    assert figures("worker_heartbeat_age_seconds", worker="gpu-1-7") is None
    assert figures("worker_tasks", worker="gpu-1-7") is None
    assert figures("model_slots", model="a") == 0  # still known, so its queue may hold jobs
    assert figures("model_loaded", model="a") is None


async def test_a_second_scrape_shows_the_same(redis: Redis, figures: Figures) -> None:
    await announce(redis, worker("1", offer("a", loaded=True)), lease_ms=WORKER_LEASE_MS)
    await redis.zadd(redis_keys.WAITING + "a", {new_id(): 1})
    await figures.renew()

    await figures.renew()

    assert figures("queue_depth", model="a") == 1
    assert figures("model_slots", model="a") == 4
    assert figures("model_loaded", model="a") == 1


async def test_models_beyond_the_bound_are_added_up(redis: Redis, figures: Figures) -> None:
    names = [f"m{number:03}" for number in range(MOST_MODELS + 2)]
    await announce(redis, worker("1", *map(offer, names)), lease_ms=WORKER_LEASE_MS)
    for name in names:
        await redis.zadd(redis_keys.WAITING + name, {new_id(): 1, new_id(): 2})

    await figures.renew()

    assert figures("queue_depth", model=names[0]) == 2
    assert figures("queue_depth", model="other") == 4
    assert figures("model_slots", model="other") == 8
    assert (figures("queue_oldest_age_seconds", model="other") or -1) >= 0


async def test_without_redis_the_rest_is_shown_and_nothing_stale(tmp_path: Path, free_port: int) -> None:
    program, logins = valkey(
        tmp_path / "valkey", port=free_port, passwords=Passwords.new(), log=tmp_path / "valkey.log"
    )
    server = await start(program)
    try:
        await server.until_it_serves()
        async with connect(logins.gateway, role="test") as redis:
            await announce(redis, worker("1", offer("a")), lease_ms=WORKER_LEASE_MS)
            figures = Figures(redis)
            await figures.renew()
            assert figures("queue_depth", model="a") == 0
            await server.stop()

            await figures.scrape()
    finally:
        await server.stop()

    assert figures("redis_up") == 0
    assert math.isnan(figures("jobs_unstored") or 0)
    assert figures("queue_depth", model="a") is None
    assert figures("workers", state="serving") is None
    assert figures("http_requests_in_progress") == 0


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param("", "text/plain; version=0.0.4", id="nothing asked for"),
        pytest.param("text/html", "text/plain; version=0.0.4", id="a browser"),
        pytest.param(
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text",
            id="Prometheus",
        ),
    ],
)
async def test_the_form_is_the_one_asked_for(redis: Redis, accept: str, expected: str) -> None:
    scraper = Scraper(Metrics(), redis, ModelCatalog(redis, queue_without_workers=True))

    body, media_type = await scraper.scrape(accept)

    assert media_type.startswith(expected)
    parse = openmetrics.text_string_to_metric_families if "openmetrics" in expected else text_string_to_metric_families
    assert "deepersensor_redis_up" in {family.name for family in parse(body.decode())}
