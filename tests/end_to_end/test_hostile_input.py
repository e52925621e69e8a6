"""Whatever a client sends, the answer is the one that stands here beside it, and nothing of it is queued."""

import pytest

from tests.end_to_end.stack import MODELS, Stack
from tests.hostile_requests import HostileRequest, hostile_requests


@pytest.mark.parametrize("request_", hostile_requests(MODELS[0]), ids=lambda request: request.name)
async def test_hostile_input(running_stack: Stack, request_: HostileRequest) -> None:
    """There are many of them: whether they left anything behind is looked at once, below."""
    client = await running_stack.client("mallory")
    assert await request_.send(client.http, client.account.token) == []


async def test_nothing_of_it_is_left(stack: Stack) -> None:
    await stack.until_idle()

    listed = await (await stack.client("mallory")).http.get("/v1/chat")

    assert listed.json()["data"] == []
