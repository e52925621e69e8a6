"""`DELETE /v1/chat/{id}` ends a job wherever it is, and Ollama stops working on it."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx

from shared.ids import new_id
from shared.redis_keys import RUNNING
from tests.end_to_end.client import Client
from tests.end_to_end.stack import SLOTS, Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang

HANGS = Answer(("Once", Hang()))


async def test_a_running_job(stack: Stack) -> None:
    model = stack.model(HANGS)
    client = await stack.client()

    async with client.stream(model) as stream:
        await stream.until("chunk")
        response = await client.cancel(stream.job_id)
        events = await stream.rest()

    assert response.status_code == 202
    assert response.json() == {"id": stream.job_id, "status": "stopping", "model": model}
    assert [event.type for event in events if event.type != "queued"] == ["started", "chunk", "error"]
    assert (events[-1].id, events[-1].json["error"]["code"]) == ("3", "cancelled")
    await stack.until_double(model, "aborted")


async def test_a_job_whose_model_has_said_nothing_yet(stack: Stack) -> None:
    model = stack.model(Answer((Hang(),)))
    client = await stack.client()

    async with client.stream(model) as stream:
        await stack.until_double(model, "active")
        response = await client.cancel(stream.job_id)
        events = await stream.rest()

    assert response.status_code == 202
    assert events[-1].json["error"]["code"] == "cancelled"
    await stack.until_double(model, "aborted")


async def test_a_waiting_job_never_reaches_ollama(stack: Stack) -> None:
    model = stack.model(HANGS)
    client = await stack.client()

    async with AsyncExitStack() as running:
        for _ in range(SLOTS):
            await start(running, client, model)
        async with client.stream(model) as waiting:
            await waiting.until("queued")
            response = await client.cancel(waiting.job_id)
            events = await waiting.rest()

    assert response.status_code == 200
    shown = await client.http.get(f"/v1/chat/{waiting.job_id}")
    assert without_link(response) == without_link(shown)
    assert (response.json()["status"], response.json()["error"]["code"]) == ("cancelled", "cancelled")
    assert (events[-1].id, events[-1].json["error"]["code"]) == ("1", "cancelled")
    await stack.until_double(model, *["aborted"] * SLOTS)


async def test_a_whole_answer_under_way(stack: Stack) -> None:
    model = stack.model(HANGS)
    client = await stack.client()

    request = asyncio.create_task(client.chat(model))
    await stack.until_double(model, "active")
    (job_id,) = await stack.redis.zrange(RUNNING + model, 0, -1)
    await client.cancel(job_id.decode())
    response = await request

    assert (response.status_code, response.json()["error"]["code"]) == (499, "cancelled")


async def test_a_job_that_has_ended_stays_as_it_is(stack: Stack) -> None:
    model = stack.model(Answer(("text",)), HANGS)
    client = await stack.client()

    async with client.stream(model) as completed:
        await completed.rest()
    async with client.stream(model) as cancelled:
        await cancelled.until("chunk")
        await client.cancel(cancelled.job_id)
        await cancelled.rest()

    for job_id, status in ((completed.job_id, "completed"), (cancelled.job_id, "cancelled")):
        await stack.until_idle()
        response = await client.cancel(job_id)
        assert (response.status_code, response.json()["status"]) == (200, status)
        assert without_link(response) == without_link(await client.http.get(f"/v1/chat/{job_id}"))


async def test_a_slot_is_free_again(stack: Stack) -> None:
    model = stack.model(*[HANGS] * SLOTS, Answer(("text",)))
    client = await stack.client()

    async with AsyncExitStack() as running:
        streams = [await start(running, client, model) for _ in range(SLOTS)]
        async with client.stream(model) as waiting:
            await waiting.until("queued")
            await client.cancel(streams[1].job_id)
            await waiting.rest()

    assert waiting.text == "text"


async def test_from_the_other_gateway(stack: Stack) -> None:
    model = stack.model(HANGS)
    here = await stack.client()
    there = await stack.client(gateway=stack.gateways[1])

    async with here.stream(model) as stream:
        await stream.until("chunk")
        assert (await there.cancel(stream.job_id)).status_code == 202
        events = await stream.rest()

    assert events[-1].json["error"]["code"] == "cancelled"
    await stack.until_double(model, "aborted")


async def test_nobody_else_can_cancel_or_learn_that_there_is_a_job(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate), " upon")))
    stranger = await stack.client("eve")

    async with (await stack.client()).stream(model) as stream:
        await stream.until("chunk")
        foreign = await stranger.cancel(stream.job_id)
        unknown = await stranger.cancel(new_id())
        malformed = await stranger.cancel("not-an-id")
        stack.double.release(gate)
        await stream.rest()

    assert stream.text == "Once upon"
    assert foreign.status_code == unknown.status_code == malformed.status_code == 404
    assert told(foreign) == told(unknown) == told(malformed)
    assert told(foreign)["code"] == "not_found"


async def start(running: AsyncExitStack, client: Client, model: str) -> EventStream:
    """Return a stream that has begun and goes on until `running` is left."""
    stream = await running.enter_async_context(client.stream(model))
    await stream.until("chunk")
    return stream


def told(response: httpx.Response) -> dict[str, Any]:
    """Return what an error says, apart from the request's id."""
    return {name: value for name, value in response.json()["error"].items() if name != "request_id"}


def without_link(response: httpx.Response) -> dict[str, Any]:
    """Return a job, apart from its link, which is made anew for every answer."""
    return {name: value for name, value in response.json().items() if name != "stream_url"}
