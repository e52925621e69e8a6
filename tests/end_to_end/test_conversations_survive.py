"""A reply is stored exactly once, and before its end is told, whatever dies, is emptied or goes away meanwhile."""

import asyncio

import httpx

from tests.databases import Databases
from tests.end_to_end.client import ask, chat
from tests.end_to_end.stack import Stack
from tests.end_to_end.talking import begin, say, told, until_answered
from tests.end_to_end.test_durable_jobs_survive import SAGA, until_unstored
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang, OllamaDouble
from tests.waiting import wait_until

BEGUN = ("user", "Begin.", "complete")
WHOLE = ("assistant", "Once upon", "complete")


async def test_a_worker_that_is_killed_in_the_middle(stack: Stack) -> None:
    double = await stack.add_double(OllamaDouble([SAGA]))
    double.script(SAGA, Answer(("Once", Hang())), Answer(("Once", " upon")))
    doomed = await stack.add_worker(double)
    await stack.until_served(SAGA)
    client = await stack.client()
    conversation = await begin(client)

    async with client.stream(SAGA, messages=ask("Begin."), conversation_id=conversation) as stream:
        await stream.until("chunk")
        await stack.add_worker(double)
        await doomed.kill()
        await stream.rest()
        assert await told(client, conversation) == [BEGUN, WHOLE]
    assert "resumed" in [event.type for event in stream.events]


async def test_a_gateway_that_is_killed_in_the_middle(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate), " upon")))
    doomed = await stack.add_gateway()
    client = await stack.client()
    conversation = await begin(client)
    headers = {"Authorization": f"Bearer {client.account.token}"}
    body = chat(model, messages=ask("Begin."), conversation_id=conversation)

    async with (
        httpx.AsyncClient(base_url=doomed.url, timeout=30, headers=headers) as http,
        http.stream("POST", "/v1/chat/stream", json=body) as response,
    ):
        await EventStream(response).until("chunk")
        await doomed.kill()
    stack.double.release(gate)

    await until_answered(client, conversation)
    assert await told(client, conversation) == [BEGUN, WHOLE]


async def test_a_gateway_that_is_killed_before_it_has_stored_what_was_said(stack: Stack) -> None:
    """Then it was not said, and the conversation is free for what is said next."""
    model = stack.model(Answer(("Once", " upon")))
    doomed = await stack.add_gateway()
    client = await stack.client()
    conversation = await begin(client)
    headers = {"Authorization": f"Bearer {client.account.token}"}
    body = chat(model, messages=ask("Lost."), conversation_id=conversation)
    async with httpx.AsyncClient(base_url=doomed.url, timeout=30, headers=headers) as http, stack.unable_to_accept():
        request = asyncio.create_task(http.post("/v1/chat", json=body))
        await stack.until_one_waits_to_be_accepted()
        await doomed.kill()
        await asyncio.gather(request, return_exceptions=True)

    assert await told(client, conversation) == []
    await say(client, conversation, model, "Begin.")
    assert await told(client, conversation) == [BEGUN, WHOLE]


async def test_a_gateway_that_is_killed_between_commit_and_enqueue(stack: Stack) -> None:
    model = stack.model(Answer(("Once", " upon")))
    proxy = await stack.add_proxy()
    doomed = await stack.add_gateway(redis_url=proxy.url)
    client = await stack.client()
    conversation = await begin(client)
    headers = {"Authorization": f"Bearer {client.account.token}"}
    body = chat(model, messages=ask("Begin."), conversation_id=conversation)
    async with httpx.AsyncClient(base_url=doomed.url, timeout=30, headers=headers) as http:
        async with stack.unable_to_accept():
            request = asyncio.create_task(http.post("/v1/chat/stream", json=body))
            await stack.until_one_waits_to_be_accepted()
            proxy.cut()

        async def stored() -> bool:
            return await told(client, conversation) == [BEGUN]

        await wait_until(stored, description="what was said is stored")
        await doomed.kill()
        await asyncio.gather(request, return_exceptions=True)

    await until_answered(client, conversation)
    assert await told(client, conversation) == [BEGUN, WHOLE]


async def test_a_redis_that_is_emptied_in_the_middle(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate), " upon")))
    client = await stack.client()
    conversation = await begin(client)
    async with client.stream(model, messages=ask("Begin."), conversation_id=conversation) as stream:
        await stream.until("chunk")
        await stack.empty_redis()
        stack.double.release(gate)
        await stream.rest()
    assert stream.events[-1].json["done"]
    assert await told(client, conversation) == [BEGUN, WHOLE]


async def test_a_postgresql_that_stands_still_at_the_end(stack: Stack, databases: Databases) -> None:
    """Nobody is told of the end before the reply is stored."""
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate), " upon")))
    client = await stack.client()
    conversation = await begin(client)
    async with client.stream(model, messages=ask("Begin."), conversation_id=conversation) as stream:
        await stream.until("chunk")
        async with databases.frozen():
            stack.double.release(gate)
            await until_unstored(stack, 1)
        await stream.rest()
        assert await told(client, conversation) == [BEGUN, WHOLE]


async def test_a_postgresql_that_stands_still_refuses_at_once_however_many_ask(
    stack: Stack, databases: Databases
) -> None:
    model = stack.model(Answer(("Once", " upon")))
    client = await stack.client()
    conversations = [await begin(client) for _ in range(12)]
    async with databases.frozen():
        refused = await asyncio.gather(*(say(client, each, model, "Begin.") for each in conversations))
    assert {response.status_code for response in refused} == {503}
    for conversation in conversations:
        await say(client, conversation, model, "Begin.")
        assert await told(client, conversation) == [BEGUN, WHOLE]
