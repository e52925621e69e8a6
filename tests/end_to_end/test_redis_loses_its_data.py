"""Redis is emptied while jobs run and wait: nobody who waits for an answer notices, but for a pause."""

import asyncio

from tests.end_to_end.client import Client
from tests.end_to_end.stack import SLOTS, Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang, OllamaDouble
from tests.waiting import wait_until

NOVEL = "novel:latest"
WORDS = tuple(f"{number} " for number in range(20))


async def test_streams_go_on_where_they_were(stack: Stack) -> None:
    """Twice, in the middle of the answers; what the model says meanwhile and afterwards is all there."""
    gates = [stack.gate(), stack.gate()]
    model = stack.model(Answer((*WORDS[:5], Hang(gates[0]), *WORDS[5:10], Hang(gates[1]), *WORDS[10:])))
    clients = [await stack.client(gateway=gateway) for gateway in stack.gateways]

    async def read(client: Client) -> EventStream:
        async with client.stream(model) as stream:
            await stream.rest()
        return stream

    reading = [asyncio.create_task(read(clients[number % 2])) for number in range(SLOTS)]
    await stack.double.until(lambda _: len(stack.generations(model)) == SLOTS, "all streams are under way")
    for gate in gates:
        await stack.redis.flushall()
        stack.double.release(gate)
    for stream in await asyncio.gather(*reading):
        assert_is_whole(stream)
    await stack.until_served()


async def test_a_stream_flows_on_however_often_that_happens(stack: Stack) -> None:
    model = stack.model(Answer(tuple(f"{number} " for number in range(300)), step_ms=10))
    async with (await stack.client()).stream(model) as stream:
        for _ in range(4):
            await stream.until("chunk")
            await stack.redis.flushall()
            for _ in range(40):
                await stream.until("chunk")
        await stream.rest()

    assert stream.text == "".join(f"{number} " for number in range(300))
    assert [event.id for event in stream.events if event.id] == [str(seq) for seq in range(1, 303)]
    await stack.until_served()


async def test_jobs_that_wait_have_their_turn_all_the_same(stack: Stack) -> None:
    """The gateway still has what was asked, and enqueues it again; whole answers too."""
    gate = stack.gate()
    model = stack.model(*[Answer((Hang(gate), *WORDS))] * SLOTS, Answer(WORDS))
    client = await stack.client()
    ahead = [asyncio.create_task(client.chat(model)) for _ in range(SLOTS)]
    await stack.double.until(lambda _: len(stack.generations(model)) == SLOTS, "all slots are taken")

    async with client.stream(model) as waiting:
        await waiting.until("queued")
        whole = asyncio.create_task(client.chat(model))
        await wait_until(lambda: has_waiting(stack, model, 2), description="two jobs wait")
        await stack.redis.flushall()
        await wait_until(lambda: has_waiting(stack, model, 2), description="two jobs wait again")
        stack.double.release(gate)
        await waiting.rest()

    assert_is_whole(waiting)
    answers = [await answer for answer in (*ahead, whole)]
    assert ["".join(chunk["content"] for chunk in answer.json()) for answer in answers] == ["".join(WORDS)] * 5
    assert [(event.type, event.json.get("attempt")) for event in waiting.events if event.type == "started"] == [
        ("started", 1)
    ]
    assert len(stack.generations(model)) == SLOTS + 2
    await stack.until_served()


async def test_of_which_the_worker_was_lost_too_says_so(stack: Stack) -> None:
    """What the client has already can be continued by nobody; the slot is free, and what comes after works."""
    double = await stack.add_double(OllamaDouble([NOVEL]))
    double.script(NOVEL, Answer(("text", Hang())))
    worker = await stack.add_worker(double)
    await stack.until_served(NOVEL)
    client = await stack.client()

    async with client.stream(NOVEL) as stream:
        await stream.until("chunk")
        await worker.kill()
        await stack.redis.flushall()
        await stream.rest()

    last = stream.events[-1]
    assert (last.type, last.id, last.json["error"]["code"]) == ("error", None, "job_lost")
    assert last.json["error"]["request_id"] == stream.response.headers["X-Request-Id"]
    await stack.until_served()
    assert (await client.chat(stack.model(Answer(("text",))))).status_code == 200


async def test_a_client_that_comes_back_just_then_reads_on(stack: Stack) -> None:
    """For a moment Redis knows nothing of what the client has; for `EventSource` a refusal would be the end."""
    gate = stack.gate()
    model = stack.model(Answer((*WORDS[:5], Hang(gate), *WORDS[5:])))
    patient = await stack.gateway(disconnect_grace_secs=60)
    async with (await stack.client(gateway=patient)).stream(model) as cut:
        for _ in range(3):
            await cut.until("chunk")
    await stack.redis.flushall()

    client = await stack.client(gateway=stack.gateways[1])
    headers = {"Last-Event-ID": cut.events[-1].id or ""}
    async with client.http.stream("GET", f"/v1/chat/{cut.job_id}/stream", headers=headers) as response:
        assert response.status_code == 200
        rest = EventStream(response)
        stack.double.release(gate)
        await rest.rest()

    assert cut.text + rest.text == "".join(WORDS)
    await stack.until_served()


async def test_a_client_that_leaves_afterwards_frees_its_slot(stack: Stack) -> None:
    """Whoever restores a job does not know whether anybody reads it; the gateway says so again."""
    model = stack.model(Answer(("text", Hang())))
    client = await stack.client()
    async with client.stream(model) as stream:
        await stream.until("chunk")
        await stack.redis.flushall()
        await stack.until_left(stream.job_id, readers=1)

    await stack.until_double(model, "aborted")
    await stack.until_served()


def assert_is_whole(stream: EventStream) -> None:
    """Assert that each word came once and in order, as from a Redis that forgets nothing."""
    assert stream.text == "".join(WORDS)
    assert [event.id for event in stream.events if event.id] == [str(seq) for seq in range(1, len(WORDS) + 3)]
    assert stream.events[-1].json["done"]


async def has_waiting(stack: Stack, model: str, count: int) -> bool:
    """Tell whether so many jobs wait for a model."""
    return await stack.redis.zcard(f"arq:queue:{model}") == count
