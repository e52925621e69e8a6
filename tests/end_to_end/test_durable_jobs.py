"""A 202 is a promise: the job runs to its end and its answer is kept, whatever becomes of its reader and of Redis."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx

from shared.ids import new_id
from tests.end_to_end.client import Client
from tests.end_to_end.stack import SLOTS, Stack
from tests.ollama_double import Answer, Fail, Hang, Thinking, ToolCalls
from tests.waiting import wait_until

ASYNC = {"Prefer": "respond-async"}


async def accept(client: Client, model: str, **fields: object) -> str:
    """Have a job accepted and return its id."""
    response = await client.chat(model, headers=ASYNC, **fields)
    assert response.status_code == 202, response.text
    return response.json()["id"]


async def show(client: Client, job_id: str) -> dict[str, Any]:
    response = await client.http.get(f"/v1/chat/{job_id}")
    assert response.status_code == 200, response.text
    return response.json()


async def until(client: Client, job_id: str, status: str) -> dict[str, Any]:
    """Return the job as soon as it has a status."""

    async def with_status() -> dict[str, Any] | None:
        job = await show(client, job_id)
        return job if job["status"] == status else None

    job = await wait_until(with_status, description=f"job {job_id} is {status}")
    assert job is not None
    return job


async def test_it_is_answered_at_once_and_runs_to_its_end(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate), " upon\u0000 \u2028a", " time")))
    client = await stack.client()

    response = await client.chat(model, headers=ASYNC)

    accepted = response.json()
    assert response.status_code == 202
    assert response.headers["Location"] == f"/v1/chat/{accepted['id']}"
    assert response.headers["Preference-Applied"] == "respond-async"
    assert (accepted["status"], accepted["position"], accepted["content"]) == ("queued", 1, "")
    assert f"/v1/chat/{accepted['id']}/stream?token=" in accepted["stream_url"]

    running = await until(client, accepted["id"], "running")
    assert running["finished_at"] is None
    stack.double.release(gate)
    completed = await until(client, accepted["id"], "completed")
    assert completed["content"] == "Once upon\u0000 \u2028a time"
    assert completed["usage"]["completion_tokens"] == 3
    assert completed["timings"]["total_ms"] >= completed["timings"]["queue_ms"]
    assert completed["created_at"] <= completed["started_at"] <= completed["finished_at"]
    assert (completed["error"], completed["done_reason"]) == (None, "stop")


async def test_its_answer_outlives_redis(stack: Stack) -> None:
    model = stack.model(Answer((Thinking("hm"), "Once", ToolCalls([{"function": {"name": "f", "arguments": {}}}]))))
    client = await stack.client()
    job_id = await accept(client, model)
    before = await until(client, job_id, "completed")

    await stack.empty_redis()

    after = await show(client, job_id)
    assert {name: after[name] for name in ("content", "thinking", "tool_calls", "usage", "timings", "error")} == {
        name: before[name] for name in ("content", "thinking", "tool_calls", "usage", "timings", "error")
    }
    stream = await client.http.get(f"/v1/chat/{job_id}/stream")
    assert (stream.status_code, stream.json()["error"]["code"]) == (410, "stream_expired")


async def test_a_failed_job_tells_why(stack: Stack) -> None:
    model = stack.model(Answer(("Once", Fail())))
    client = await stack.client()
    failed = await until(client, await accept(client, model), "failed")
    assert failed["error"]["type"] == "server_error"
    assert failed["content"] == "Once"
    assert (failed["usage"], failed["done_reason"]) == (None, None)


class TestDeleting:
    async def test_a_job_that_waits(self, stack: Stack) -> None:
        model = stack.model(Answer(("Once", Hang())))
        client = await stack.client()
        running = [await accept(client, model) for _ in range(SLOTS)]
        for job_id in running:
            await until(client, job_id, "running")
        waiting = await accept(client, model)
        assert (await show(client, waiting))["position"] == 1

        assert (await client.cancel(waiting)).status_code == 202

        cancelled = await until(client, waiting, "cancelled")
        assert (cancelled["error"]["code"], cancelled["started_at"]) == ("cancelled", None)
        for job_id in running:
            await client.cancel(job_id)
        for job_id in running:
            await until(client, job_id, "cancelled")
        await stack.until_double(model, *["aborted"] * SLOTS)
        await stack.empty_redis()
        assert (await show(client, waiting))["status"] == "cancelled"
        assert (await client.cancel(waiting)).json()["status"] == "cancelled"

    async def test_a_job_that_runs(self, stack: Stack) -> None:
        model = stack.model(Answer(("Once", Hang())))
        client = await stack.client()
        job_id = await accept(client, model)
        await stack.until_double(model, "active")

        assert (await client.cancel(job_id)).status_code == 202

        cancelled = await until(client, job_id, "cancelled")
        assert cancelled["content"] == "Once"
        await stack.until_double(model, "aborted")

    async def test_a_job_that_has_ended(self, stack: Stack) -> None:
        model = stack.model(Answer(("Once",)))
        client = await stack.client()
        job_id = await accept(client, model)
        await until(client, job_id, "completed")
        response = await client.cancel(job_id)
        assert (response.status_code, response.json()["status"]) == (200, "completed")
        assert response.json()["content"] == "Once"


async def test_nobody_else_sees_it(stack: Stack) -> None:
    model = stack.model(Answer(("Once",)))
    client, stranger = await stack.client(), await stack.client("eve")
    job_id = await accept(client, model)
    await until(client, job_id, "completed")

    async def told() -> list[tuple[int, dict[str, Any]]]:
        ids = (job_id, new_id(), "not-an-id")
        responses = [await stranger.http.get(f"/v1/chat/{id_}") for id_ in ids]
        responses += [await stranger.cancel(id_) for id_ in ids]
        return [(response.status_code, told_of(response)) for response in responses]

    in_redis = await told()
    await stack.empty_redis()
    assert in_redis == await told()
    assert {status for status, _ in in_redis} == {404}
    assert len({tuple(sorted(error.items(), key=str)) for _, error in in_redis}) == 1


async def test_a_key_stands_for_the_job(stack: Stack) -> None:
    model = stack.model(Answer(("Once",)))
    client = await stack.client()
    keyed = {"Idempotency-Key": new_id()}

    first = await client.chat(model, headers=ASYNC | keyed)
    again = await client.chat(model, headers=ASYNC | keyed)
    async with client.stream(model, headers=keyed) as stream:
        await stream.rest()

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"] == stream.job_id
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert stream.text == "Once"
    assert len(stack.generations(model)) == 1


async def test_fifty_requests_at_once_with_one_key_are_one_job(stack: Stack) -> None:
    """Over two gateways, while the first of them is being stored."""
    model = stack.model(Answer(("Once",)))
    clients = [await stack.client(gateway=gateway) for gateway in stack.gateways]
    keyed = ASYNC | {"Idempotency-Key": new_id()}

    async with asyncio.TaskGroup() as requests, stack.unable_to_accept():
        asking = [requests.create_task(client.chat(model, headers=keyed)) for client in clients * 25]
        await stack.until_one_waits_to_be_accepted()
    responses = [task.result() for task in asking]

    assert {response.status_code for response in responses} == {202}
    (job_id,) = {response.json()["id"] for response in responses}
    assert sum("Idempotent-Replayed" not in response.headers for response in responses) == 1
    await until(clients[0], job_id, "completed")
    assert len(stack.generations(model)) == 1


async def test_a_key_of_a_job_that_is_not_kept_is_not_taken_for_one_that_is(stack: Stack) -> None:
    model = stack.model(Answer(("Once",)))
    client = await stack.client()
    keyed = {"Idempotency-Key": new_id()}
    assert (await client.chat(model, headers=keyed)).status_code == 200
    refused = await client.chat(model, headers=ASYNC | keyed)
    assert (refused.status_code, told_of(refused)["code"]) == (422, "idempotency_mismatch")


class TestAnAttachedJob:
    async def test_is_shown_while_redis_has_it_and_what_is_left_of_it_after_that(self, stack: Stack) -> None:
        model = stack.model(Answer(("Once", Hang())), Answer(("Once", " upon")))
        client = await stack.client()
        async with client.stream(model) as stream:
            await stream.until("chunk")
            running = await show(client, stream.job_id)
            await client.cancel(stream.job_id)
            await stream.rest()
        async with client.stream(model) as stream:
            await stream.rest()
        await stack.until_recorded(stream.job_id)
        assert (running["status"], running["content"], running["is_durable"]) == ("running", "Once", False)
        before = await until(client, stream.job_id, "completed")
        assert before["content"] == "Once upon"

        await stack.empty_redis()

        after = await show(client, stream.job_id)
        assert (after["status"], after["content"], after["usage"]) == ("completed", None, before["usage"])

    async def test_that_ends_while_it_waits_has_its_row(self, stack: Stack) -> None:
        model = stack.model(Answer(("Once", Hang())))
        client = await stack.client()
        async with AsyncExitStack() as running:
            for _ in range(SLOTS):
                await (await running.enter_async_context(client.stream(model))).until("chunk")
            async with client.stream(model, queue_timeout_ms=200) as expired:
                await expired.rest()
            async with client.stream(model) as cancelled:
                await cancelled.until("queued")
                await client.cancel(cancelled.job_id)
                await cancelled.rest()

        for job_id in (expired.job_id, cancelled.job_id):
            await stack.until_recorded(job_id)
        await stack.empty_redis()
        for job_id, status in ((expired.job_id, "expired"), (cancelled.job_id, "cancelled")):
            ended = await show(client, job_id)
            assert (ended["status"], ended["error"]["code"], ended["started_at"]) == (status, status, None)


def told_of(response: httpx.Response) -> dict[str, Any]:
    """Return what an error says, apart from the request's id."""
    return {name: value for name, value in response.json()["error"].items() if name != "request_id"}
