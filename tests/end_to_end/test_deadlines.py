"""Nothing waits for ever: not for a slot, not for a worker, not for Ollama's first or next word."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from redis.asyncio import Redis

from shared.registry import Announcement, ModelOffer, announce, withdraw
from tests.end_to_end.client import chat
from tests.end_to_end.stack import SLOTS, Stack
from tests.ollama_double import Answer, Hang, OllamaDouble

IMPATIENT = "impatient:latest"
UNSERVED = "unserved:latest"


@pytest.fixture
async def impatient(stack: Stack) -> AsyncIterator[OllamaDouble]:
    """A double beside a worker that gives it 300 ms for a word; its model is loaded, so that loading is no excuse."""
    double = await stack.add_double(OllamaDouble([IMPATIENT]))
    async with httpx.AsyncClient(base_url=double.url) as http:
        await http.post("/api/chat", json={"model": IMPATIENT})
    await stack.add_worker(double, ollama_first_token_timeout_ms=300, ollama_default_timeout_ms=300)
    await stack.until_served(IMPATIENT)
    yield double
    assert not double.state.ended_as("active")


@pytest.fixture
async def unserved(stack: Stack) -> str:
    """A model that a worker had until just now."""
    await come_and_go(stack.redis, UNSERVED)
    await stack.until_served()
    return UNSERVED


async def come_and_go(redis: Redis, model: str) -> None:
    """Announce a model as a worker does, and leave."""
    offer = ModelOffer(name=model, digest="", size_bytes=0)
    worker = Announcement(
        id="gone", host="", pid=0, models=(offer,), slots=1, max_jobs=1, ollama_version="", draining=False
    )
    await announce(redis, worker, lease_ms=1000)
    await withdraw(redis, worker.id)


async def test_ollama_is_silent_before_or_after_its_first_word(stack: Stack, impatient: OllamaDouble) -> None:
    client = await stack.client()

    impatient.script(IMPATIENT, Answer((Hang(),)))
    async with client.stream(IMPATIENT) as before:
        await before.rest()
    impatient.script(IMPATIENT, Answer(("Once", Hang())))
    async with client.stream(IMPATIENT) as after:
        await after.rest()
    whole = await client.chat(IMPATIENT)

    assert before.events[-1].json["error"]["code"] == "upstream_timeout"
    assert after.events[-1].json["error"]["code"] == "upstream_timeout"
    assert (before.text, after.text) == ("", "Once" * 3)
    assert (whole.status_code, whole.json()["error"]["code"]) == (504, "upstream_timeout")
    await impatient.until(lambda state: len(state.ended_as("aborted")) == 9, "all attempts were broken off")


async def test_a_slow_model_is_not_a_silent_one(stack: Stack, impatient: OllamaDouble) -> None:
    """Each word has its own deadline: an answer may take longer than any of them."""
    impatient.script(IMPATIENT, Answer(("word ",) * 12, step_ms=50))

    async with (await stack.client()).stream(IMPATIENT) as stream:
        await stream.rest()

    assert stream.events[-1].json.get("done") is True
    assert stream.text == "word " * 12


async def test_a_job_runs_longer_than_its_client_wants(stack: Stack) -> None:
    model = stack.model(Answer(("Once", Hang())))
    client = await stack.client()

    async with client.stream(model, timeout_ms=300) as stream:
        events = await stream.rest()
    whole = await client.chat(model, timeout_ms=300)

    assert (events[-1].type, events[-1].json["error"]["code"]) == ("error", "timeout")
    assert (whole.status_code, whole.json()["error"]["code"]) == (504, "timeout")
    await stack.until_double(model, "aborted", "aborted")


async def test_a_job_waits_longer_than_its_client_wants(stack: Stack) -> None:
    model = stack.model(Answer((Hang(),)))
    client = await stack.client()

    async with AsyncExitStack() as running:
        for _ in range(SLOTS):
            stream = await running.enter_async_context(client.stream(model))
            await stream.until("started")
        async with client.stream(model, queue_timeout_ms=300) as waiting:
            events = await waiting.rest()

    assert {event.type for event in events[:-1]} == {"queued"}
    assert (events[-1].type, events[-1].id, events[-1].json["error"]["code"]) == ("error", "1", "expired")
    assert events[-1].json["error"]["request_id"] == waiting.response.headers["X-Request-Id"]


async def test_a_job_waits_for_a_worker_that_does_not_come(stack: Stack, unserved: str) -> None:
    client = await stack.client()

    async with client.stream(unserved, queue_timeout_ms=300) as stream:
        events = await stream.rest()
    whole = await client.chat(unserved, queue_timeout_ms=300)

    assert [event.type for event in events] == ["queued", "error"]
    assert events[-1].json["error"]["code"] == "expired"
    assert (whole.status_code, whole.json()["error"]["code"]) == (504, "expired")


async def test_a_job_waits_for_a_worker_that_comes(stack: Stack) -> None:
    await come_and_go(stack.redis, "tardy:latest")
    await stack.until_served()

    async with (await stack.client()).stream("tardy") as stream:
        assert (await stream.next()).type == "queued"
        await stack.add_worker(await stack.add_double(OllamaDouble(["tardy"])))
        events = await stream.rest()

    assert events[-1].json.get("done") is True


async def test_nobody_waits_where_jobs_must_not(stack: Stack, unserved: str) -> None:
    client = await stack.client(gateway=await stack.gateway(queue_without_workers=False))

    response = await client.chat(unserved)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_worker")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("field", ["timeout_ms", "queue_timeout_ms"])
async def test_a_client_cannot_wait_longer_than_the_operator_allows(stack: Stack, field: str) -> None:
    client = await stack.client()

    response = await client.http.post("/v1/chat", json=chat(stack.model(), **{field: 600_001}))

    assert response.status_code == 422
    assert response.json()["error"]["param"] == field
