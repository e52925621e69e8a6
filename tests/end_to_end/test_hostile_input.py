"""Whatever a client sends, the answer is the one that stands here beside it, and nothing of it is queued."""

import pytest

from tests.end_to_end.stack import MODELS, Stack
from tests.hostile_requests import HostileRequest, hostile_requests


@pytest.mark.parametrize("request_", hostile_requests(MODELS[0]), ids=lambda request: request.name)
async def test_hostile_input(stack: Stack, request_: HostileRequest) -> None:
    client = await stack.client()
    assert await request_.send(client.http, client.account.token) == []
