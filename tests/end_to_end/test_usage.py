"""Users are told what they have asked for: each request once, under the key that it came with, however it ended."""

from typing import Any

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.stack import SLOTS, Stack
from tests.end_to_end.test_durable_jobs import accept, show, until
from tests.ollama_double import Answer, Hang
from tests.waiting import wait_until


async def told(client: Client, **query: str) -> list[dict[str, Any]]:
    response = await client.http.get("/v1/usage", params=query)
    assert response.status_code == 200, response.text
    return response.json()["data"]


async def until_told(client: Client, requests: int) -> None:
    async def is_told() -> bool:
        return sum(row["requests"] for row in await told(client)) == requests

    await wait_until(is_told, description=f"{requests} requests are counted")


async def test_every_request_is_counted_under_its_key_however_it_ended(stack: Stack) -> None:
    """Attached and durable, completed by a worker, stopped in its hands and stopped in the queue."""
    model = stack.model(*[Answer(("Once",))] * 4, Answer(("Once", Hang())))
    owner = await stack.newcomer()
    program = await stack.program(owner, name="nightly")
    for client in (owner, program):
        assert (await client.chat(model)).status_code == 200
        await until(client, await accept(client, model), "completed")
    running = [await accept(client, model) for client in (owner, program) for _ in range(SLOTS // 2)]
    for job_id in running:
        await until(owner, job_id, "running")
    waiting = [await accept(client, model) for client in (owner, program)]
    async with program.stream(model) as stream:
        await stream.until("queued")
        await owner.cancel(stream.job_id)
    for job_id in (*waiting, *running):
        await owner.cancel(job_id)
        await until(owner, job_id, "cancelled")
    await owner.http.delete(f"/v1/api-keys/{program.account.id}")
    await until_told(owner, 4 + SLOTS + 3)

    in_session, by_program = await told(owner, group_by="key,model")

    assert (in_session["api_key_id"], in_session["api_key_name"]) == (None, None)
    assert (by_program["api_key_id"], by_program["api_key_name"]) == (program.account.id, "nightly")
    for row, cancelled in ((in_session, SLOTS // 2 + 1), (by_program, SLOTS // 2 + 2)):
        assert row["model"] == model
        assert "day" not in row
        assert row["outcomes"] == {"completed": 2, "failed": 0, "cancelled": cancelled, "expired": 0}
        assert row["requests"] == 2 + cancelled
        assert row["completion_tokens"] > 0
    assert (await told(owner))[0].keys() == {"day", "requests", "prompt_tokens", "completion_tokens", "outcomes"}
    assert await told(await stack.newcomer()) == []


async def test_who_stops_an_answer_has_used_what_there_was_of_it(stack: Stack) -> None:
    """Attached and durable alike; a job that never began has used nothing."""
    words = ("Once ", "upon ", "a ")
    model = stack.model(Answer((*words, Hang())))
    client = await stack.newcomer()
    async with client.stream(model) as stream:
        for _ in words:
            await stream.until("chunk")
        await client.cancel(stream.job_id)
        await stream.rest()
    durable = await accept(client, model)

    async def is_said() -> bool:
        return (await show(client, durable))["content"] == "".join(words)

    await wait_until(is_said, description="the durable job has answered as much")
    await client.cancel(durable)
    await until_told(client, 2)

    (row,) = await told(client)
    assert row["outcomes"]["cancelled"] == 2
    assert row["completion_tokens"] == 2 * len(words)
    assert row["prompt_tokens"] > 0


async def test_pages_leave_nothing_out(stack: Stack) -> None:
    client = await stack.newcomer()
    models = [stack.model(Answer(("Once",))) for _ in range(3)]
    for model in models:
        assert (await client.chat(model)).status_code == 200
    await until_told(client, len(models))

    seen: list[str] = []
    query: dict[str, str] = {"group_by": "model", "limit": "1"}
    while True:
        page = (await client.http.get("/v1/usage", params=query)).json()
        seen += [row["model"] for row in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == sorted(models)


@pytest.mark.parametrize("query", [{"group_by": "user"}, {"from": "soon"}, {"to": "2020-01-01T00:00:00"}], ids=str)
async def test_a_wrong_query_names_its_parameter(stack: Stack, query: dict[str, str]) -> None:
    response = await (await stack.client()).http.get("/v1/usage", params=query)
    assert (response.status_code, response.json()["error"]["param"]) == (422, next(iter(query)))
