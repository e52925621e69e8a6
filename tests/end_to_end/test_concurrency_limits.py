"""Nobody has more jobs or streams at once than they may; whatever is killed, nothing of it counts for long."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from shared.redis_keys import JOBS, streams
from tests.end_to_end.client import Client, chat
from tests.end_to_end.stack import Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang
from tests.processes import ServerProcess
from tests.waiting import wait_until

MOST_JOBS = 3
MOST_STREAMS = 2
SETTINGS: dict[str, object] = {
    "rate_limit_enabled": True,
    "rate_limit_requests_per_minute": 10_000,
    "rate_limit_address_requests_per_minute": 100_000,
    "rate_limit_tokens_per_minute": 1_000_000,
    "rate_limit_concurrent_jobs": MOST_JOBS,
    "rate_limit_open_streams": MOST_STREAMS,
}


@pytest.fixture
async def gateway(stack: Stack) -> ServerProcess:
    return await stack.gateway(**SETTINGS)


@pytest.fixture
async def client(stack: Stack, gateway: ServerProcess) -> Client:
    """A user who has nothing yet."""
    return await stack.newcomer(gateway=gateway)


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    """Streams that are left at the end."""
    async with AsyncExitStack() as opened:
        yield opened


async def test_of_200_jobs_at_once_so_many_are_taken_as_may_be(stack: Stack, client: Client) -> None:
    gate = stack.gate()
    model = stack.model(Answer((Hang(gate),)))
    body = chat(model)

    answers = await asyncio.gather(
        *(client.http.post("/v1/chat", json=body, headers={"Prefer": "respond-async"}) for _ in range(200))
    )

    assert Counter(answer.status_code for answer in answers) == {202: MOST_JOBS, 429: 200 - MOST_JOBS}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "concurrency_limited"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["RateLimit-Policy"] == f'"user-jobs";q={MOST_JOBS};qu="concurrent-requests"'
    assert refused.headers["RateLimit"] == '"user-jobs";r=0'
    assert int(refused.headers["Retry-After"]) > 0
    stack.double.release(gate)
    for answer in answers:
        if answer.status_code == 202:
            await stack.until_recorded(answer.json()["id"])
    assert (await client.chat(stack.model(Answer(("text",))))).status_code == 200


async def test_one_stream_too_many_is_refused_new_or_read_again(
    stack: Stack, client: Client, opened: AsyncExitStack
) -> None:
    model = stack.model(Answer((Hang(),)))
    first, _ = [await opened.enter_async_context(client.stream(model)) for _ in range(MOST_STREAMS)]

    new = await client.http.post("/v1/chat/stream", json=chat(model))
    again = await client.http.get(f"/v1/chat/{first.job_id}/stream")

    for refused in (new, again):
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "concurrency_limited")
        assert refused.headers["RateLimit-Policy"] == f'"user-streams";q={MOST_STREAMS};qu="concurrent-requests"'
        assert int(refused.headers["Retry-After"]) > 0
    assert (await client.http.get(f"/v1/chat/{first.job_id}")).status_code == 200


async def test_a_stream_that_has_ended_or_was_left_makes_room(
    stack: Stack, client: Client, opened: AsyncExitStack
) -> None:
    model = stack.model(Answer(("text",)))
    for _ in range(2 * MOST_STREAMS):
        async with client.stream(model) as stream:
            await stream.rest()
        await until_open(stack, client, 0)
    reading = await opened.enter_async_context(client.stream(stack.model(Answer((Hang(),)))))
    for _ in range(2 * MOST_STREAMS):
        async with client.http.stream("GET", f"/v1/chat/{reading.job_id}/stream") as response:
            assert response.status_code == 200
            await EventStream(response).next()
            await until_open(stack, client, 2)
        await until_open(stack, client, 1)


async def test_the_streams_of_a_gateway_that_was_killed_count_no_longer_than_its_leases(
    stack: Stack, gateway: ServerProcess, opened: AsyncExitStack
) -> None:
    doomed = await stack.add_gateway(**SETTINGS)
    client = await stack.newcomer(gateway=doomed)
    survivor = Client(gateway.url, client.account)
    opened.push_async_callback(survivor.http.aclose)
    model = stack.model(Answer((Hang(),)))
    kept = [await opened.enter_async_context(client.stream(model)) for _ in range(MOST_STREAMS)]
    await until_open(stack, client, MOST_STREAMS)

    await doomed.kill()

    async def has_room() -> bool:
        async with survivor.http.stream("GET", f"/v1/chat/{kept[0].job_id}/stream") as again:
            return again.status_code != 429

    await wait_until(has_room, description="there is room for a stream")


async def test_when_redis_forgets_what_is_there_counts_again(
    stack: Stack, client: Client, opened: AsyncExitStack
) -> None:
    stream = await opened.enter_async_context(client.stream(stack.model(Answer((Hang(),)))))
    await stream.until("started")

    await stack.empty_redis()

    await until_open(stack, client, 1)

    async def counts() -> bool:
        return await stack.redis.zcount(JOBS + client.account.id, "(0", "+inf") == 1

    await wait_until(counts, description="the job is one of its user's")


@pytest.mark.parametrize("limits", ['{"concurrent_jobs": 1}', '{"concurrent_jobs": 1, "open_streams": null}'])
async def test_one_user_has_other_limits_than_the_rest(
    stack: Stack, client: Client, opened: AsyncExitStack, limits: str
) -> None:
    await stack.execute(f"UPDATE users SET limits = '{limits}' WHERE id = '{client.account.id}'")
    model = stack.model(Answer((Hang(),)))
    await opened.enter_async_context(client.stream(model))

    refused = await client.http.post("/v1/chat/stream", json=chat(model))
    me = (await client.http.get("/v1/auth/me")).json()["limits"]

    assert refused.headers["RateLimit-Policy"] == '"user-jobs";q=1;qu="concurrent-requests"'
    assert (me["concurrent_jobs"], me["requests_per_minute"]) == (1, 10_000)
    assert me["open_streams"] == (None if "null" in limits else MOST_STREAMS)


async def until_open(stack: Stack, client: Client, count: int) -> None:
    """Wait until a user has so many open streams."""

    async def are_open() -> bool:
        return await stack.redis.zcard(streams("user", client.account.id)) == count

    await wait_until(are_open, description=f"{count} streams are open")
