"""When the client goes away its job ends, Ollama stops, and the next job has the slot."""

import asyncio
import contextlib
from contextlib import AsyncExitStack

import httpx
import pytest
from redis.asyncio import Redis

from shared.redis_keys import WAITING
from tests.end_to_end.client import Client, chat
from tests.end_to_end.stack import SLOTS, Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang
from tests.waiting import wait_until

HANGS = Answer(("Once", Hang()))


async def test_from_a_stream(stack: Stack) -> None:
    model = stack.model(HANGS)

    async with (await stack.client()).stream(model) as stream:
        await stream.until("chunk")

    await stack.until_double(model, "aborted")


async def test_before_the_first_word(stack: Stack) -> None:
    model = stack.model(Answer((Hang(),)))

    async with (await stack.client()).stream(model) as stream:
        await stream.until("started")
        await stack.until_double(model, "active")

    await stack.until_double(model, "aborted")


async def test_while_a_whole_answer_is_written(stack: Stack) -> None:
    model = stack.model(HANGS)

    await leave(await begin(stack, await stack.client(), model))

    await stack.until_double(model, "aborted")


async def test_the_next_job_has_the_slot(stack: Stack) -> None:
    model = stack.model(*[HANGS] * SLOTS, Answer(("text",)))
    client = await stack.client()

    async with AsyncExitStack() as running:
        streams = [await running.enter_async_context(client.stream(model)) for _ in range(SLOTS)]
        for stream in streams:
            await stream.until("chunk")
        async with client.stream(model) as waiting:
            await waiting.until("queued")
            await running.aclose()
            await waiting.rest()

    assert waiting.text == "text"
    await stack.until_double(model, *["aborted"] * SLOTS, "completed")


async def test_a_job_that_waits_never_reaches_ollama(stack: Stack) -> None:
    model = stack.model(HANGS)
    client = await stack.client()

    async with AsyncExitStack() as running:
        for _ in range(SLOTS):
            stream = await running.enter_async_context(client.stream(model))
            await stream.until("chunk")
        async with client.stream(model) as waiting:
            await waiting.until("queued")
        await wait_until(lambda: is_unwanted(stack.redis, model), description="the job has left the queue")

    await stack.until_double(model, *["aborted"] * SLOTS)


async def test_within_its_grace_a_stream_goes_on(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate), " upon")))
    client = await stack.client(gateway=await stack.gateway(disconnect_grace_secs=3))

    async with client.stream(model) as stream:
        await stream.until("chunk")
    stack.double.release(gate)

    await stack.until_double(model, "completed")


async def test_after_its_grace_a_stream_ends_and_a_whole_answer_has_none(stack: Stack) -> None:
    streamed, whole = stack.model(HANGS), stack.model(HANGS)
    client = await stack.client(gateway=await stack.gateway(disconnect_grace_secs=3))

    async with client.stream(streamed) as stream:
        await stream.until("chunk")
        request = await begin(stack, client, whole)
    await leave(request)

    await stack.until_double(whole, "aborted")
    assert [seen.outcome for seen in stack.generations(streamed)] == ["active"]
    await stack.until_double(streamed, "aborted")


CONTINUE = {"X-On-Disconnect": "continue"}


@pytest.mark.parametrize("kind", ["a stream", "a whole answer"])
async def test_a_job_that_is_to_run_on_runs_to_its_end(stack: Stack, kind: str) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate), " upon")))
    client = await stack.client()

    if kind == "a stream":
        async with client.stream(model, headers=CONTINUE) as stream:
            await stream.until("chunk")
    else:
        await leave(await begin(stack, client, model, headers=CONTINUE))
    await swept(stack)
    stack.double.release(gate)

    await stack.until_double(model, "completed")


async def test_a_job_that_is_to_run_on_runs_on_when_it_was_read_again(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate), " upon")))
    client = await stack.client()

    async with client.stream(model, headers=CONTINUE) as first:
        await first.until("chunk")
        async with client.http.stream("GET", f"/v1/chat/{first.job_id}/stream") as response:
            await EventStream(response).until("chunk")
    await swept(stack)
    stack.double.release(gate)

    await stack.until_double(model, "completed")


async def test_a_job_that_is_to_run_on_is_stopped_by_its_owner(stack: Stack) -> None:
    model = stack.model(HANGS)
    client = await stack.client()

    async with client.stream(model, headers=CONTINUE) as stream:
        await stream.until("chunk")
    await client.cancel(stream.job_id)

    await stack.until_double(model, "aborted")


async def test_a_job_that_is_to_be_cancelled_is_as_any_other(stack: Stack) -> None:
    model = stack.model(HANGS)

    async with (await stack.client()).stream(model, headers={"X-On-Disconnect": "cancel"}) as stream:
        await stream.until("chunk")

    await stack.until_double(model, "aborted")


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/stream"])
@pytest.mark.parametrize("wishes", [["stop"], [""], ["Continue"], ["continue", "cancel"]], ids=str)
async def test_what_nobody_can_wish_for_is_refused(stack: Stack, path: str, wishes: list[str]) -> None:
    client = await stack.client()
    headers = [("X-On-Disconnect", wish) for wish in wishes]

    refused = await client.http.post(path, json=chat(stack.model(HANGS)), headers=headers)

    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
    assert refused.json()["error"]["param"] == "X-On-Disconnect"


async def swept(stack: Stack) -> None:
    """Return when a job that its client has left just now would have been stopped: one that was left later has been."""
    model = stack.model(HANGS)
    async with (await stack.client()).stream(model) as stream:
        await stream.until("chunk")
    await stack.until_double(model, "aborted")


async def is_unwanted(redis: Redis, model: str) -> bool:
    """Tell whether nobody waits for the model."""
    return not await redis.exists(WAITING + model)


async def begin(
    stack: Stack, client: Client, model: str, *, headers: dict[str, str] | None = None
) -> asyncio.Task[httpx.Response]:
    """Ask for a whole answer, and return when the model is about it."""
    request = asyncio.create_task(client.chat(model, headers=headers))
    await stack.until_double(model, "active")
    return request


async def leave(request: asyncio.Task[httpx.Response]) -> None:
    """Close the connection of a request."""
    request.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await request
