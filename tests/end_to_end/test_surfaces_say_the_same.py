"""Whichever surface a client asks by, it is told what the model says: all of it, at once, and nobody else's."""

import asyncio
import json

import pytest

from tests.end_to_end.client import PROMPT, Client
from tests.end_to_end.stack import Stack
from tests.end_to_end.test_stream_equals_what_the_model_sent import HOSTILE
from tests.end_to_end.test_usage import told, until_told
from tests.ollama_double import Answer, Done, Hang
from tests.surfaces import ALL, COMPATIBLE, NATIVE, OLLAMA, OPENAI, Answering, OllamaReading, OpenAIReading, Surface

WORDS = ("Once", " upon", " a", "\n\n", "time", " é\U0001f525", ".\n")
STREAMS = 60

every_surface = pytest.mark.parametrize("surface", ALL, ids=str)


@every_surface
async def test_a_stream_and_a_whole_answer_are_the_models_own(stack: Stack, surface: Surface) -> None:
    model = stack.model(Answer(WORDS))
    client = await stack.client()

    async with client.ask(surface, model) as answer:
        reading = await answer.rest()
    whole = await client.ask_whole(surface, model)

    assert reading.text == surface.text_of(whole.json()) == "".join(WORDS)
    assert reading.is_complete
    assert reading.completion_tokens == len(WORDS)


@every_surface
@pytest.mark.parametrize("token", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_text_stays_text(stack: Stack, surface: Surface, token: str) -> None:
    model = stack.model(Answer(("before", token, "after")))

    async with (await stack.client()).ask(surface, model) as answer:
        raw = b"".join([data async for data in answer.response.aiter_raw()])
    answer.reading.feed(raw)
    answer.reading.close()

    assert (answer.text, answer.reading.faults) == (f"before{token}after", [])
    assert raw.isascii()
    assert set(raw) & set(range(32)) == {ord("\n")}


@every_surface
async def test_each_token_is_there_before_the_next_is_made(stack: Stack, surface: Surface) -> None:
    gates = [stack.gate() for _ in WORDS]
    model = stack.model(
        Answer(tuple(step for word, gate in zip(WORDS, gates, strict=True) for step in (word, Hang(gate))))
    )

    async with (await stack.client()).ask(surface, model) as answer:
        for number, gate in enumerate(gates, start=1):
            await answer.until_text("".join(WORDS[:number]))
            stack.double.release(gate)
        await answer.rest()

    assert answer.text == "".join(WORDS)


async def test_many_streams_of_two_tenants_by_all_surfaces_do_not_mix(stack: Stack) -> None:
    model = stack.model(Answer(step_ms=5))  # repeats the question
    clients = [await stack.client(user, gateway=gateway) for user in ("ada", "bob") for gateway in stack.gateways]

    async def ask(number: int) -> str:
        surface, client = ALL[number % len(ALL)], clients[number % len(clients)]
        body = surface.body(model, _question(number))
        async with client.http.stream("POST", surface.path, json=body) as response:
            return (await Answering(surface, response).rest()).text

    texts = await asyncio.gather(*map(ask, range(STREAMS)))

    introductions = {text.removesuffix(_question(number)) for number, text in enumerate(texts)}
    assert len(introductions) == 1, introductions


async def test_every_completion_has_an_id_of_its_own(stack: Stack) -> None:
    model = stack.model(Answer(WORDS))
    client = await stack.client()
    ids: list[str | None] = []

    for _ in range(5):
        async with client.ask(OPENAI, model) as answer:
            ids.append((await answer.rest()).id)
    whole = [await client.ask_whole(OPENAI, model) for _ in range(5)]

    ids += [response.json()["id"] for response in whole]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_why_the_model_stopped_is_told(stack: Stack, reason: str) -> None:
    model = stack.model(Answer(("Once", Done(reason))))
    client = await stack.client()

    async with client.ask(OPENAI, model) as answer:
        openai = await answer.rest()
    async with client.ask(OLLAMA, model) as answer:
        ollama = await answer.rest()

    assert isinstance(openai, OpenAIReading)
    assert isinstance(ollama, OllamaReading)
    assert (openai.finish_reason, ollama.done_reason) == (reason, reason)


async def test_the_model_is_asked_the_same(stack: Stack) -> None:
    model = stack.model(Answer(WORDS))
    client = await stack.client()

    for surface in (NATIVE, *COMPATIBLE):
        await client.ask_whole(surface, model)

    asked = [{name: value for name, value in seen.request.items() if value} for seen in stack.generations(model)]
    assert [request["messages"] for request in asked] == [[{"role": "user", "content": PROMPT}]] * len(asked)
    assert len({json.dumps(request, sort_keys=True) for request in asked}) == 1, asked


async def test_each_request_is_counted_whichever_surface_it_came_by(stack: Stack) -> None:
    model = stack.model(Answer(WORDS))
    owner = await stack.newcomer()
    program = await stack.program(owner)

    for client in (owner, program):
        for surface in ALL:
            await _ask_both_ways(client, surface, model)
    await until_told(owner, 4 * len(ALL))

    for row in await told(owner, group_by="key"):
        assert row["outcomes"]["completed"] == row["requests"] == 2 * len(ALL)
        assert row["completion_tokens"] == 2 * len(ALL) * len(WORDS)
        assert row["prompt_tokens"] > 0


async def _ask_both_ways(client: Client, surface: Surface, model: str) -> None:
    async with client.ask(surface, model) as answer:
        await answer.rest()
    assert (await client.ask_whole(surface, model)).status_code == 200


def _question(number: int) -> str:
    return " ".join(f"{number}-{word}" for word in range(40))
