"""A request can be followed through all logs by its id, and none of them says what it was about."""

import json
from typing import Any

from tests.end_to_end.client import CANARY, Client, ask, chat
from tests.end_to_end.stack import Stack
from tests.images import in_base64, png
from tests.ollama_double import Answer, Cut, Fail, Hang, Raw, Thinking, ToolCalls
from tests.waiting import wait_until

CALLS: list[Any] = [{"function": {"name": CANARY, "arguments": {CANARY: CANARY}}}]
TALKATIVE = Answer((Thinking(CANARY), CANARY, ToolCalls(CALLS)))
UNLUCKY = (
    Answer((CANARY, Fail(CANARY))),
    Answer((Fail(CANARY, status=400),)),
    Answer((CANARY, Raw(f"{CANARY}\n".encode()))),
    Answer((CANARY, Cut())),
)


async def test_one_id_from_gateway_to_worker(stack: Stack) -> None:
    model = stack.model(Answer(("text",)))
    request_id = f"my-own.{stack.gate()}"

    async with (await stack.client()).stream(model, headers={"X-Request-Id": request_id}) as stream:
        await stream.rest()

    assert stream.response.headers["X-Request-Id"] == request_id
    await wait_until(
        lambda: {line["role"] for line in lines_about(stack, request_id)} == {"gateway", "worker"},
        description="gateway and worker have logged the request",
    )
    assert {line["job_id"] for line in lines_about(stack, request_id) if "job_id" in line} == {stream.job_id}


async def test_no_log_holds_what_was_said(stack: Stack) -> None:
    """At level DEBUG, of all processes, arq's lines included; neither when all is well nor when much is not."""
    client = await stack.client()

    await say_everything(client, stack.model(TALKATIVE))
    for answer in UNLUCKY:
        await say_everything(client, stack.model(answer))
    await cancel_in_the_middle(client, stack.model(Answer((CANARY, Hang()))))
    await get_everything_wrong(client)
    await stack.until_idle()

    lines = stack.log_lines()
    assert any(client.account.id in line for line in lines) or any("job_ended" in line for line in lines)
    assert not [line for line in lines if CANARY in line]
    assert not [line for line in lines if client.account.token in line or client.account.password in line]


async def say_everything(client: Client, model: str) -> None:
    """Put the word wherever a chat has room for it."""
    messages = [
        {"role": "system", "content": CANARY},
        {"role": "user", "content": CANARY, "images": [in_base64(png() + b"\0\0") + CANARY * 2]},
        {"role": "assistant", "content": CANARY, "thinking": CANARY, "tool_calls": CALLS},
        {"role": "tool", "content": CANARY, "tool_name": CANARY},
    ]
    fields: dict[str, Any] = {
        "options": {"stop": [CANARY]},
        "format": {"title": CANARY},
        "tools": [{"type": "function", "function": {"name": CANARY, "description": CANARY}}],
        "think": True,
        "keep_alive": "5m",
    }
    async with client.stream(model, messages=messages, **fields) as stream:
        await stream.rest()
    await client.http.post("/v1/chat", json={"model": model, "messages": messages, **fields})


async def cancel_in_the_middle(client: Client, model: str) -> None:
    async with client.stream(model) as stream:
        await stream.until("chunk")
        await client.cancel(stream.job_id)
        await stream.rest()


async def get_everything_wrong(client: Client) -> None:
    """Make every mistake that could be logged with what was sent."""
    mistakes: list[dict[str, Any]] = [
        {"content": CANARY.encode(), "headers": {"Content-Type": "application/json"}},
        {"content": CANARY.encode(), "headers": {"Content-Type": CANARY}},
        {"json": {CANARY: CANARY}},
        {"json": chat(CANARY)},
        {"json": chat("x", messages=ask(f"{CANARY}\0"))},
        {"json": {}, "params": {"token": CANARY}, "headers": {"Cookie": CANARY, "Referer": f"http://{CANARY}/"}},
        {"json": {}, "headers": {"Authorization": f"Bearer {CANARY}"}},
        {"json": {}, "headers": {"Authorization": f"Basic {CANARY}"}},
    ]
    for mistake in mistakes:
        response = await client.http.post("/v1/chat", **mistake)
        assert 400 <= response.status_code < 500
    for path in ("/v1/auth/login", "/v1/auth/signup"):
        response = await client.http.post(path, json={"email": "nobody@example.org", "password": CANARY})
        assert response.status_code in (401, 422)
    assert (await client.cancel(CANARY)).status_code == 404


def lines_about(stack: Stack, request_id: str) -> list[dict[str, Any]]:
    """Return the log's lines that carry the id of a request."""
    return [line for line in map(json.loads, stack.log_lines()) if line.get("request_id") == request_id]
