"""A 202 is a promise: the job runs to its end and its answer is kept, whatever becomes of its reader and of Redis."""

from typing import Any

from tests.end_to_end.client import Client
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, Hang, Thinking, ToolCalls
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

    await stack.redis.flushall()
    await stack.until_served()

    after = await show(client, job_id)
    assert {name: after[name] for name in ("content", "thinking", "tool_calls", "usage", "timings", "error")} == {
        name: before[name] for name in ("content", "thinking", "tool_calls", "usage", "timings", "error")
    }
    stream = await client.http.get(f"/v1/chat/{job_id}/stream")
    assert (stream.status_code, stream.json()["error"]["code"]) == (410, "stream_expired")
