"""Who is not sure whether a request has arrived sends it again with the same key, and gets the same answer."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from itertools import count

import httpx
import pytest

from tests.end_to_end.client import CANARY, Client, chat
from tests.end_to_end.stack import SLOTS, Stack
from tests.event_stream import SentEvent
from tests.ollama_double import Answer, Fail, Hang
from tests.processes import ServerProcess

WORDS = tuple(f"{number} " for number in range(12))
BAD_KEYS = {
    "an empty one": [b""],
    "too long a one": [b"k" * 256],
    "no ASCII": [b"k\xc3\xa9y"],
    "a tab": [b"a\tb"],
    "two of them": [b"one", b"two"],
}

_numbers = count()


@pytest.fixture
def key() -> dict[str, str]:
    """The header with a key that nobody has sent yet; it must not stand in any log."""
    return {"Idempotency-Key": f"{CANARY} {next(_numbers)}"}


@pytest.fixture(params=["the same gateway", "another gateway"])
def elsewhere(stack: Stack, request: pytest.FixtureRequest) -> ServerProcess:
    """Where the request is sent again; the first time it is the first gateway."""
    return stack.gateways[0 if request.param == "the same gateway" else 1]


async def test_fifty_requests_at_once_are_one_job(stack: Stack, key: dict[str, str]) -> None:
    """Over two gateways, half of them streams."""
    model = stack.model(Answer((WORDS[0], Hang(gate := stack.gate()), *WORDS[1:])))
    clients = [await stack.client(gateway=gateway) for gateway in stack.gateways]

    async def ask_whole(client: Client) -> tuple[str, str, bool]:
        response = await client.chat(model, headers=key)
        return text_of(response), response.headers["X-Job-Id"], is_replay(response)

    async def ask_for_stream(client: Client) -> tuple[str, str, bool]:
        async with client.stream(model, headers=key) as stream:
            await stream.rest()
            return stream.text, stream.job_id, is_replay(stream.response)

    async with asyncio.TaskGroup() as requests:
        asking = [
            requests.create_task(ask(client)) for ask in (ask_whole, ask_for_stream) for client in clients * 12
        ] + [requests.create_task(ask_whole(clients[0])), requests.create_task(ask_for_stream(clients[1]))]
        await stack.until_double(model, "active")
        stack.double.release(gate)
    answers = [task.result() for task in asking]

    await stack.until_double(model, "completed")
    assert {text for text, _, _ in answers} == {"".join(WORDS)}
    assert len({job_id for _, job_id, _ in answers}) == 1
    assert sorted(replayed for _, _, replayed in answers) == [False] + [True] * 49


async def test_a_running_stream_is_replayed_from_its_start(
    stack: Stack, key: dict[str, str], elsewhere: ServerProcess
) -> None:
    model = stack.model(Answer((*WORDS[:5], Hang(gate := stack.gate()), *WORDS[5:])))

    async with (await stack.client()).stream(model, headers=key) as first:
        for _ in range(3):
            await first.until("chunk")
        async with (await stack.client(gateway=elsewhere)).stream(model, headers=key) as again:
            await again.until("chunk")
            stack.double.release(gate)
            await asyncio.gather(first.rest(), again.rest())

    assert not is_replay(first.response)
    assert is_replay(again.response)
    assert again.job_id == first.job_id
    assert logged(again.events) == logged(first.events)


async def test_a_finished_job_is_replayed_whole_and_as_a_stream(
    stack: Stack, key: dict[str, str], elsewhere: ServerProcess
) -> None:
    model = stack.model(Answer(WORDS))
    client, other = await stack.client(), await stack.client(gateway=elsewhere)
    first = await client.chat(model, headers=key)

    whole = await other.chat(model, headers=key)
    async with other.stream(model, headers=key) as stream:
        await stream.rest()

    assert whole.json() == first.json()
    assert stream.text == text_of(first) == "".join(WORDS)
    assert is_replay(whole)
    assert is_replay(stream.response)
    await stack.until_double(model, "completed")


async def test_a_job_that_waits_tells_its_place_again(
    stack: Stack, key: dict[str, str], elsewhere: ServerProcess
) -> None:
    gate = stack.gate()
    model = stack.model(*[Answer((Hang(gate),))] * SLOTS, Answer(WORDS))
    client = await stack.client()
    ahead = [asyncio.create_task(client.chat(model)) for _ in range(SLOTS)]
    await stack.until_double(model, *["active"] * SLOTS)

    async with client.stream(model, headers=key) as first:
        announced = await first.next()
        async with (await stack.client(gateway=elsewhere)).stream(model, headers=key) as again:
            assert (await again.next()).json["position"] == announced.json["position"]
            stack.double.release(gate)
            await asyncio.gather(first.rest(), again.rest())
    await asyncio.gather(*ahead)

    assert logged(again.events) == logged(first.events)


async def test_another_body_is_refused(stack: Stack, key: dict[str, str]) -> None:
    model = stack.model(Answer(WORDS))
    client = await stack.client()
    await client.chat(model, headers=key)

    answers = [
        await client.http.post(path, json=chat(model, options={"seed": 1}), headers=key)
        for path in ("/v1/chat", "/v1/chat/stream")
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_mismatch")
        assert answer.json()["error"]["param"] == "Idempotency-Key"
    await stack.until_double(model, "completed")


async def test_another_spelling_of_the_body_is_the_same_body(stack: Stack, key: dict[str, str]) -> None:
    """What counts is what was understood, not the bytes."""
    model = stack.model(Answer(WORDS))
    client = await stack.client()
    body = chat(model, options={"temperature": 1, "seed": 7}, format={"type": "object", "properties": {}})
    first = await client.http.post("/v1/chat", json=body, headers=key)
    spelled = dict(reversed(body.items())) | {"think": None, "options": {"seed": 7, "temperature": 1.0}}

    again = await client.http.post(
        "/v1/chat", content=json.dumps(spelled, indent=4), headers=key | {"Content-Type": "application/json"}
    )

    assert again.json() == first.json()
    assert is_replay(again)


async def test_the_key_of_somebody_else_is_another_key(stack: Stack, key: dict[str, str]) -> None:
    model = stack.model(Answer(WORDS))

    answers = [await (await stack.client(user)).chat(model, headers=key) for user in ("ada", "bob")]

    assert not any(map(is_replay, answers))
    await stack.until_double(model, "completed", "completed")


async def test_a_whole_answer_with_a_key_outlives_its_clients_connection(stack: Stack, key: dict[str, str]) -> None:
    """For the grace of a stream: its client can come back."""
    model = stack.model(Answer((WORDS[0], Hang(gate := stack.gate()), *WORDS[1:])))
    client = await stack.client(gateway=await stack.gateway(disconnect_grace_secs=60))

    await leave(await begin(stack, client, model, key))
    again = asyncio.create_task((await stack.client()).chat(model, headers=key))
    stack.double.release(gate)

    assert text_of(await again) == "".join(WORDS)
    assert is_replay(await again)
    await stack.until_double(model, "completed")


@pytest.mark.parametrize("kind", ["a stream", "a whole answer"])
async def test_a_job_that_its_client_has_left_is_begun_anew(stack: Stack, key: dict[str, str], kind: str) -> None:
    model = stack.model(Answer((WORDS[0], Hang())), Answer(WORDS))
    client = await stack.client()

    if kind == "a stream":
        async with client.stream(model, headers=key) as stream:
            await stream.until("chunk")
    else:
        await leave(await begin(stack, client, model, key))
    await stack.until_double(model, "aborted")
    again = await client.chat(model, headers=key)

    assert text_of(again) == "".join(WORDS)
    assert not is_replay(again)


async def test_a_job_that_was_cancelled_stays_cancelled(stack: Stack, key: dict[str, str]) -> None:
    model = stack.model(Answer((WORDS[0], Hang())), Answer(WORDS))
    client = await stack.client()
    async with client.stream(model, headers=key) as stream:
        await stream.until("chunk")
        await client.cancel(stream.job_id)
        await stream.rest()

    again = await client.chat(model, headers=key)

    assert (again.status_code, again.json()["error"]["code"]) == (499, "cancelled")
    assert is_replay(again)


async def test_a_failure_is_replayed(stack: Stack, key: dict[str, str]) -> None:
    model = stack.model(Answer((Fail("this model does not support tools", status=400),)), Answer(WORDS))
    client = await stack.client()

    first, again = await client.chat(model, headers=key), await client.chat(model, headers=key)

    assert (first.status_code, first.json()["error"]["code"]) == (422, "upstream_rejected")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert is_replay(again)


@pytest.mark.parametrize("keys", BAD_KEYS.values(), ids=BAD_KEYS.keys())
@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/stream"])
async def test_what_is_no_key_is_refused(stack: Stack, path: str, keys: list[bytes]) -> None:
    client = await stack.client()
    headers = [(b"Idempotency-Key", key) for key in keys]

    refused = await client.http.post(path, json=chat(stack.model(Answer(WORDS))), headers=headers)

    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
    assert refused.json()["error"]["param"] == "Idempotency-Key"


async def test_attaching_costs_a_request_and_another_body_is_a_mistake_that_the_address_pays(
    stack: Stack, key: dict[str, str]
) -> None:
    gateway = await stack.gateway(rate_limit_enabled=True, rate_limit_requests_per_minute=1, rate_limit_burst=2)
    model = stack.model(Answer(WORDS))
    client = await stack.newcomer(gateway=gateway)

    first = await client.chat(model, headers=key)
    mismatched = await client.chat(model, headers=key, think=True)
    attached, refused = [await client.chat(model, headers=key) for _ in range(2)]

    assert [answer.status_code for answer in (first, mismatched, attached, refused)] == [200, 422, 200, 429]
    assert mismatched.headers["RateLimit"].startswith('"address";')
    assert attached.headers["RateLimit"].startswith('"user";r=0;')


def text_of(response: httpx.Response) -> str:
    """Return what the model says in a whole answer."""
    assert response.status_code == 200, response.text
    return "".join(chunk["content"] for chunk in response.json())


def is_replay(response: httpx.Response) -> bool:
    """Tell whether the answer says that its job was there already."""
    return response.headers.get("Idempotent-Replayed") == "true"


def logged(events: Sequence[SentEvent]) -> list[SentEvent]:
    """Return the events that can be resumed from."""
    return [event for event in events if event.id]


async def begin(stack: Stack, client: Client, model: str, key: dict[str, str]) -> asyncio.Task[httpx.Response]:
    """Ask for a whole answer, and return when the model is about it."""
    request = asyncio.create_task(client.chat(model, headers=key))
    await stack.until_double(model, "active")
    return request


async def leave(request: asyncio.Task[httpx.Response]) -> None:
    """Close the connection of a request."""
    request.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await request
