"""A queue has an end; who waits knows where, and who is refused has paid nothing."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from msgspec import Struct

from tests.end_to_end.client import Client, chat
from tests.end_to_end.stack import SLOTS, Stack
from tests.event_stream import EventStream, SentEvent
from tests.ollama_double import Answer, Hang

DEPTH = 2
BURST = 20


class Crowd(Struct):
    """A user who has taken all slots of a model, and all places in its queue."""

    client: Client
    model: str
    running: list[EventStream]
    waiting: list[EventStream]


@pytest.fixture
async def crowd(stack: Stack) -> AsyncIterator[Crowd]:
    """Limits are on, one request a minute comes back: so it shows who has paid."""
    gateway = await stack.gateway(
        queue_max_depth=DEPTH, rate_limit_enabled=True, rate_limit_requests_per_minute=1, rate_limit_burst=BURST
    )
    crowd = Crowd(await stack.newcomer(gateway=gateway), stack.model(Answer((Hang(),))), [], [])
    async with AsyncExitStack() as streams:
        for _ in range(SLOTS):
            crowd.running.append(await streams.enter_async_context(crowd.client.stream(crowd.model)))
            await crowd.running[-1].until("started")
        for _ in range(DEPTH):
            crowd.waiting.append(await streams.enter_async_context(crowd.client.stream(crowd.model)))
        yield crowd


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/stream"])
async def test_one_too_many_is_refused(crowd: Crowd, path: str) -> None:
    refused = await crowd.client.http.post(path, json=chat(crowd.model))

    assert refused.status_code == 503
    assert refused.headers["Content-Type"] == "application/json"
    assert int(refused.headers["Retry-After"]) > 0
    assert remaining(refused) == BURST - SLOTS - DEPTH
    assert refused.headers["RateLimit-Policy"] == crowd.running[0].response.headers["RateLimit-Policy"]
    assert refused.json()["error"]["code"] == "queue_full"


async def test_a_refusal_costs_nothing(crowd: Crowd) -> None:
    accepted = crowd.waiting[-1].response
    assert remaining(accepted) == BURST - SLOTS - DEPTH

    for _ in range(3):
        assert (await crowd.client.chat(crowd.model)).status_code == 503
    cancelled = await crowd.client.cancel(crowd.waiting[0].job_id)
    assert remaining(cancelled) == BURST - SLOTS - DEPTH - 1
    async with crowd.client.stream(crowd.model) as stream:
        assert remaining(stream.response) == BURST - SLOTS - DEPTH - 2


async def test_other_models_have_queues_of_their_own(stack: Stack, crowd: Crowd) -> None:
    response = await crowd.client.chat(stack.model(Answer(("text",))))

    assert response.status_code == 200


async def test_who_waits_is_told_where_and_how_it_moves(crowd: Crowd) -> None:
    first, second = crowd.waiting
    assert place(await first.next()) == (1, 0)
    assert place(await second.next()) == (2, 1)

    await crowd.client.cancel(crowd.running[0].job_id)

    assert (await first.next()).type == "started"
    assert place(await second.next()) == (1, 0)


def place(event: SentEvent) -> tuple[int, int]:
    assert event.type == "queued"
    return event.json["position"], event.json["ahead"]


def remaining(response: httpx.Response) -> int:
    """Return how many more requests the user may make, as the answer says."""
    user, _, _ = response.headers["RateLimit"].partition(",")
    return int(user.partition(";r=")[2].partition(";")[0])
