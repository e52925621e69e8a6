"""Whatever a client sends, the answer is the one that stands here beside it, and nothing of it is queued."""

import pytest

from tests.end_to_end.stack import MODELS, Stack
from tests.hostile_requests import HostileRequest, hostile_requests
from tests.ollama_double import Answer

TEXT = Answer(("text",))


@pytest.mark.parametrize("request_", hostile_requests(MODELS[0]), ids=lambda request: request.name)
async def test_hostile_input(running_stack: Stack, request_: HostileRequest) -> None:
    """There are many of them: whether they left anything behind is looked at once, below."""
    client = await running_stack.client("mallory")
    assert await request_.send(client.http, client.account.token) == []


async def test_nothing_of_it_is_left(stack: Stack) -> None:
    await stack.until_idle()

    listed = await (await stack.client("mallory")).http.get("/v1/chat")

    assert listed.json()["data"] == []


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "Forwarded"])
async def test_no_header_says_where_links_lead(stack: Stack, header: str) -> None:
    """A link goes with a token, to whoever it leads to."""
    client = await stack.client()
    evil = "host=evil.example.org" if header == "Forwarded" else "evil.example.org"

    accepted = await client.chat(stack.model(TEXT), headers={"Prefer": "respond-async", header: evil})

    assert accepted.status_code == 202
    assert "evil" not in f"{accepted.headers} {accepted.text}"
    assert accepted.json()["stream_url"].startswith(f"{stack.gateways[0].url}/v1/chat/")
