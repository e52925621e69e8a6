"""What Ollama knows of its models reaches Redis: once for each digest, however often they are on offer."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from infra.local.demo_model import digest_of
from shared import model_descriptions
from shared.registry import ModelOffer
from tests.ollama_double import OllamaDouble
from tests.waiting import wait_until
from worker.describer import Describer
from worker.ollama import Ollama


class CountingOllama(OllamaDouble):
    """Counts how often it is asked to describe a model."""

    def __init__(self) -> None:
        super().__init__(["demo", "other:1b"])
        self.described: list[str] = []
        self.odd: dict[str, object] = {}  # what a server says that only resembles Ollama

    def description_of(self, model: str) -> dict[str, object]:
        """See `DemoModel.description_of`."""
        self.described.append(model)
        return super().description_of(model) | self.odd


@pytest.fixture
async def double() -> AsyncIterator[CountingOllama]:
    async with CountingOllama() as double:
        yield double


@pytest.fixture
async def describer(redis: Redis, double: CountingOllama) -> AsyncIterator[Describer]:
    """A describer that runs."""
    async with Ollama(double.url) as ollama:
        describer = Describer(redis=redis, ollama=ollama)
        running = asyncio.create_task(describer.run())
        yield describer
        running.cancel()
        await asyncio.wait([running])


def offers(*names: str) -> list[ModelOffer]:
    return [ModelOffer(name=name, digest=digest_of(name), size_bytes=0) for name in names]


async def until_described(redis: Redis, *models: str) -> None:
    async def are_described() -> bool:
        return not await model_descriptions.renew(redis, [digest_of(model) for model in models])

    await wait_until(are_described, description=f"{models} are described")


async def test_each_model_is_described_once(redis: Redis, double: CountingOllama, describer: Describer) -> None:
    describer.offer(offers("demo:latest"))
    await until_described(redis, "demo:latest")
    describer.offer(offers("demo:latest"))
    describer.offer(offers("demo:latest", "other:1b"))
    await until_described(redis, "other:1b")

    assert double.described == ["demo:latest", "other:1b"]


async def test_a_model_that_somebody_has_described_is_not_asked_for(
    redis: Redis, double: CountingOllama, describer: Describer
) -> None:
    await model_descriptions.store(redis, digest_of("demo:latest"), {})

    describer.offer(offers("demo:latest", "other:1b"))
    await until_described(redis, "other:1b")

    assert double.described == ["other:1b"]


async def test_it_is_told_as_ollama_tells_it_but_for_the_paths_of_its_machine(
    redis: Redis, describer: Describer
) -> None:
    describer.offer(offers("demo:latest"))
    await until_described(redis, "demo:latest")

    description = msgspec.json.decode(await model_descriptions.read(redis, digest_of("demo:latest")) or b"")
    assert description["model_info"]["demo.context_length"] == 4096
    assert description["capabilities"] == ["completion", "embedding", "thinking", "tools", "vision"]
    assert description["modelfile"] == f"FROM sha256-{digest_of('demo:latest')}\n"


async def test_a_model_that_cannot_be_described_keeps_nobody_else_from_it(
    redis: Redis, double: CountingOllama, describer: Describer, caplog: pytest.LogCaptureFixture
) -> None:
    describer.offer(offers("gone:latest", "demo:latest"))

    await until_described(redis, "demo:latest")

    assert double.described == ["demo:latest"]
    await wait_until(lambda: "model_undescribed" in caplog.text, description="the one that is gone is logged")


@pytest.mark.parametrize("modelfile", [None, 7, ["FROM"]])
async def test_a_modelfile_that_is_none_is_left_out(
    redis: Redis, double: CountingOllama, describer: Describer, modelfile: object
) -> None:
    double.odd = {"modelfile": modelfile}
    describer.offer(offers("demo:latest"))
    await until_described(redis, "demo:latest")

    description = msgspec.json.decode(await model_descriptions.read(redis, digest_of("demo:latest")) or b"")
    assert "modelfile" not in description
    assert description["capabilities"]
