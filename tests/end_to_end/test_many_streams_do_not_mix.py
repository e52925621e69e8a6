"""Many streams at once, over several gateways and workers: each client has its own answer, whole and in order."""

import asyncio

import httpx

from tests.end_to_end.client import ask
from tests.end_to_end.stack import Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer

STREAMS = 64


def question(number: int) -> str:
    """Return a text that no other stream has, not even a part of it."""
    return " ".join(f"{number}-{word}" for word in range(40))


async def test_64_streams_over_two_gateways_and_three_workers(stack: Stack) -> None:
    model = stack.model(Answer(step_ms=5))  # repeats the question
    await asyncio.gather(stack.add_worker(worker_slots=8), stack.add_worker(worker_slots=8))
    clients = [await stack.client(user, gateway=gateway) for user in ("ada", "bob") for gateway in stack.gateways]

    async def ask_for(number: int) -> EventStream:
        async with clients[number % len(clients)].stream(model, messages=ask(question(number))) as stream:
            await stream.rest()
            return stream

    streams = await asyncio.gather(*map(ask_for, range(STREAMS)))

    introductions = {stream.text.removesuffix(question(number)) for number, stream in enumerate(streams)}
    assert len(introductions) == 1, introductions
    for stream in streams:
        logged = [event for event in stream.events if event.type != "queued"]
        assert [event.id for event in logged] == [str(number + 1) for number in range(len(logged))]
        assert {event.type for event in logged[1:]} == {"chunk"}
        assert [event.json["done"] for event in logged[1:]] == [False] * (len(logged) - 2) + [True]
        assert {event.json["job_id"] for event in stream.events if "job_id" in event.json} == {stream.job_id}
    assert len({stream.job_id for stream in streams}) == STREAMS
    workers = {event.json["worker"] for stream in streams for event in stream.events if event.type == "started"}
    assert len(workers) == 3


async def test_whole_answers_do_not_mix_either(stack: Stack) -> None:
    model = stack.model(Answer())
    clients = [await stack.client(gateway=gateway) for gateway in stack.gateways]

    async def ask_for(number: int) -> httpx.Response:
        return await clients[number % 2].chat(model, messages=ask(question(number)))

    responses = await asyncio.gather(*map(ask_for, range(STREAMS)))

    texts = ["".join(chunk["content"] for chunk in response.json()) for response in responses]
    assert len({text.removesuffix(question(number)) for number, text in enumerate(texts)}) == 1
