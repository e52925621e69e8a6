"""What people do with conversations, in as few words."""

from typing import Any

import httpx

from tests.end_to_end.client import Client, ask
from tests.waiting import wait_until

Told = tuple[str, str, str]  # role, content, status


async def begin(client: Client, **fields: object) -> str:
    """Begin a conversation and return its id."""
    response = await client.http.post("/v1/conversations", json=fields)
    assert response.status_code == 201, response.text
    return response.json()["id"]


async def say(client: Client, conversation: str, model: str, text: str, **fields: Any) -> httpx.Response:  # noqa: ANN401
    """Say one thing and wait for the whole answer."""
    return await client.chat(model, messages=ask(text), conversation_id=conversation, **fields)


async def show(client: Client, conversation: str) -> dict[str, Any]:
    """Return a conversation."""
    response = await client.http.get(f"/v1/conversations/{conversation}")
    assert response.status_code == 200, response.text
    return response.json()


async def messages(client: Client, conversation: str) -> list[dict[str, Any]]:
    """Return what was said."""
    response = await client.http.get(f"/v1/conversations/{conversation}/messages", params={"limit": 100})
    assert response.status_code == 200, response.text
    return response.json()["data"]


async def told(client: Client, conversation: str) -> list[Told]:
    """Return what was said: role, content and status."""
    return [(each["role"], each["content"], each["status"]) for each in await messages(client, conversation)]


async def until_answered(client: Client, conversation: str) -> None:
    """Wait until no job is to answer."""

    async def answered() -> bool:
        return (await show(client, conversation))["job_id"] is None

    await wait_until(answered, description="the conversation was answered in")
