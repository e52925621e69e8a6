"""A request that is sent again with its key gets the same answer, in whichever protocol it is asked."""

import asyncio

import pytest

from shared.ids import new_id
from tests.end_to_end.stack import Stack
from tests.end_to_end.test_idempotency import is_replay
from tests.end_to_end.test_surfaces_refuse import assert_refused
from tests.ollama_double import Answer, Cut, Fail, Hang
from tests.surfaces import COMPATIBLE, NATIVE, Surface

WORDS = tuple(f"{number} " for number in range(12))
TEXT = "".join(WORDS)

compatible = pytest.mark.parametrize("surface", COMPATIBLE, ids=str)


@pytest.fixture
def key() -> dict[str, str]:
    """The header with a key that nobody has sent yet."""
    return {"Idempotency-Key": new_id()}


@compatible
async def test_an_answer_that_has_ended_is_told_again(stack: Stack, surface: Surface, key: dict[str, str]) -> None:
    """From another gateway, as a stream and in one piece, under the same id."""
    model = stack.model(Answer(WORDS))
    client, other = [await stack.client(gateway=gateway) for gateway in stack.gateways]

    async with client.ask(surface, model, headers=key) as first:
        await first.rest()
    async with other.ask(surface, model, headers=key) as again:
        await again.rest()

    assert (first.text, again.text) == (TEXT, TEXT)
    assert (is_replay(first.response), is_replay(again.response)) == (False, True)
    assert again.reading.id == first.reading.id
    assert again.reading.completion_tokens == first.reading.completion_tokens == len(WORDS)
    await stack.until_double(model, "completed")


@compatible
async def test_an_answer_under_way_is_told_to_all_who_ask(stack: Stack, surface: Surface, key: dict[str, str]) -> None:
    model = stack.model(Answer((*WORDS[:5], Hang(gate := stack.gate()), *WORDS[5:])))
    clients = [await stack.client(gateway=gateway) for gateway in stack.gateways]

    async with clients[0].ask(surface, model, headers=key) as first:
        await first.until_text("".join(WORDS[:5]))
        async with clients[1].ask(surface, model, headers=key) as again:
            await again.until_text("".join(WORDS[:5]))
            stack.double.release(gate)
            await asyncio.gather(first.rest(), again.rest())

    assert (first.text, again.text) == (TEXT, TEXT)
    assert again.reading.id == first.reading.id
    await stack.until_double(model, "completed")


@pytest.mark.parametrize("said", [5, 150], ids=["soon", "after more than is read of a log at once"])
@compatible
async def test_an_answer_that_began_anew_is_told_again_whole(
    stack: Stack, surface: Surface, key: dict[str, str], said: int
) -> None:
    """Who asked first was shown a part of what is void; who asks again is shown the answer alone."""
    model = stack.model(Answer((*["void "] * said, Cut()), step_ms=1), Answer(WORDS))
    client = await stack.client(gateway=await stack.gateway(disconnect_grace_secs=60))

    async with client.ask(surface, model, headers=key) as first:
        await first.rest()
    await stack.until_double(model, "broken", "completed")
    async with client.ask(surface, model, headers=key) as again:
        await again.rest()

    assert first.reading.error is not None
    assert (again.text, again.reading.error) == (TEXT, None)


@compatible
async def test_who_has_a_key_can_come_back(stack: Stack, surface: Surface, key: dict[str, str]) -> None:
    model = stack.model(Answer((*WORDS[:5], Hang(gate := stack.gate()), *WORDS[5:])))
    client = await stack.client(gateway=await stack.gateway(disconnect_grace_secs=60))

    async with client.ask(surface, model, headers=key) as left:
        await left.until_text("".join(WORDS[:5]))
    again = asyncio.create_task(client.ask_whole(surface, model, headers=key))
    stack.double.release(gate)

    assert surface.text_of((await again).json()) == TEXT
    assert is_replay(await again)
    await stack.until_double(model, "completed")


@compatible
async def test_another_question_under_the_same_key_is_refused(
    stack: Stack, surface: Surface, key: dict[str, str]
) -> None:
    one, other = "ada:latest", "bell:latest"
    for model in (one, other):
        stack.double.script(model, Answer(WORDS))
    client = await stack.client()
    assert (await client.ask_whole(surface, one, headers=key)).status_code == 200

    for refused in (
        await client.ask_in_vain(surface, other, headers=key),
        await client.ask_whole(surface, other, headers=key),
    ):
        assert_refused(surface, refused, 422, "idempotency_mismatch")


@compatible
async def test_a_failure_is_told_again(stack: Stack, surface: Surface, key: dict[str, str]) -> None:
    model = stack.model(Answer((Fail("this model does not support tools", status=400),)), Answer(WORDS))
    client = await stack.client()

    first, again = [await client.ask_whole(surface, model, headers=key) for _ in range(2)]

    for response in (first, again):
        assert_refused(surface, response, 422, "upstream_rejected")
    assert is_replay(again)
    await stack.until_double(model, "broken")


async def test_a_key_is_of_one_surface_and_one_user(stack: Stack, key: dict[str, str]) -> None:
    model = stack.model(Answer(WORDS))

    answers = [
        await (await stack.client(user)).ask_whole(surface, model, headers=key)
        for user in ("ada", "bob")
        for surface in (NATIVE, *COMPATIBLE)
    ]

    assert [(answer.status_code, is_replay(answer)) for answer in answers] == [(200, False)] * len(answers)
    await stack.until_double(model, *["completed"] * len(answers))
