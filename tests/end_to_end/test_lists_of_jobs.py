"""`GET /v1/chat` lists the caller's jobs, each once, however it is cut into pages and whatever state they are in."""

from typing import Any

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.stack import SLOTS, Stack
from tests.end_to_end.test_durable_jobs import accept, until
from tests.ollama_double import Answer, Hang


async def pages(client: Client, **query: str | int) -> list[list[str]]:
    """Return the ids of all pages."""
    listed: list[list[str]] = []
    cursor: dict[str, Any] = {}
    while True:
        response = await client.http.get("/v1/chat", params={**query, **cursor})
        assert response.status_code == 200, response.text
        page = response.json()
        listed.append([job["id"] for job in page["data"]])
        if page["next_cursor"] is None:
            return listed
        cursor = {"cursor": page["next_cursor"]}


async def flat(client: Client, **query: str | int) -> list[str]:
    return [id_ for page in await pages(client, **query) for id_ in page]


async def test_every_job_is_on_one_page_in_every_state(stack: Stack) -> None:
    model = stack.model(Answer(("Once",)), Answer(("Once",)), Answer(("Once", Hang())))
    client = await stack.newcomer()
    durable = await accept(client, model)
    await until(client, durable, "completed")
    async with client.stream(model) as attached:
        await attached.rest()
    await stack.until_recorded(attached.job_id)
    running = [await accept(client, model) for _ in range(SLOTS)]
    for job_id in running:
        await until(client, job_id, "running")
    waiting = [await accept(client, model) for _ in range(2)]
    async with client.stream(model) as waiting_too:
        await waiting_too.until("queued")
        made = [durable, attached.job_id, *running, *waiting, waiting_too.job_id]

        for limit in (1, 2, 3, len(made) - 1, len(made), len(made) + 1):
            cut = await pages(client, limit=limit)
            assert [id_ for page in cut for id_ in page] == made[::-1]
            assert {len(page) for page in cut[:-1]} <= {limit}
        assert await flat(client) == made[::-1]
        assert await flat(client, status="completed", limit=1) == [attached.job_id, durable]
        assert await flat(client, status="running", limit=3) == running[::-1]
        assert await flat(client, status="queued", limit=1) == [waiting_too.job_id, *waiting[::-1]]
        assert await flat(client, status="expired") == []
        assert await flat(await stack.newcomer()) == []

        for job_id in (*running, *waiting, waiting_too.job_id):
            await client.cancel(job_id)
    for job_id in (*running, *waiting):
        await until(client, job_id, "cancelled")
    assert await flat(client, status="cancelled", limit=2) == [waiting_too.job_id, *waiting[::-1], *running[::-1]]


async def test_a_job_is_listed_at_every_moment_of_its_life(stack: Stack) -> None:
    """Also in the second between its end and its row."""
    gate = stack.gate()
    model = stack.model(Answer((Hang(gate), "Once")))
    client = await stack.newcomer()
    async with client.stream(model) as stream:
        await stream.until("started")
        assert await flat(client) == [stream.job_id]
        stack.double.release(gate)
        await stream.rest()
    assert await flat(client) == [stream.job_id]
    await stack.until_recorded(stream.job_id)
    assert await flat(client) == [stream.job_id]
    await stack.empty_redis()
    assert await flat(client) == [stream.job_id]


@pytest.mark.parametrize(
    "query",
    [
        {"status": "done"},
        {"status": ""},
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "-1"},
        {"limit": "1.0"},
        {"limit": "٣"},
        {"limit": ""},
        {"cursor": "1"},
        {"cursor": ""},
        {"cursor": "ffffffff-ffff-ffff-ffff-ffffffffffff"},
        {"cursor": "0199AAAA-BBBB-7CCC-8DDD-EEEEFFFF0000"},
    ],
    ids=str,
)
async def test_a_wrong_query_names_its_parameter(stack: Stack, query: dict[str, str]) -> None:
    response = await (await stack.client()).http.get("/v1/chat", params=query)
    assert (response.status_code, response.json()["error"]["param"]) == (422, next(iter(query)))
