"""A user's client: what people do with httpx, in as few words."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
from msgspec import Struct

from tests.event_stream import EventStream
from tests.surfaces import Answering, Surface

HANG_S = 30.0  # a limit for hanging, not an expectation
CANARY = "canary"  # stands in every prompt, answer and password, and must not stand in any log
PROMPT = f"{CANARY}: what the user asks"


class Account(Struct, frozen=True):
    """A user who has signed up and logged in."""

    id: str
    email: str
    password: str
    token: str
    refresh_token: str


class Client:
    """A user at one gateway."""

    def __init__(self, url: str, account: Account) -> None:
        self.account = account
        self.http = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {account.token}"}, timeout=HANG_S, trust_env=False
        )

    async def chat(self, model: str, *, headers: dict[str, str] | None = None, **fields: object) -> httpx.Response:
        """Ask and wait for the whole answer."""
        return await self.http.post("/v1/chat", json=chat(model, **fields), headers=headers)

    @asynccontextmanager
    async def stream(
        self, model: str, *, headers: dict[str, str] | None = None, **fields: object
    ) -> AsyncGenerator[EventStream]:
        """Ask and read the stream inside the block; leaving it early closes the connection."""
        request = self.http.stream("POST", "/v1/chat/stream", json=chat(model, **fields), headers=headers)
        async with request as response:
            if not response.is_success:
                await response.aread()
            assert response.status_code == 200, response.text
            stream = EventStream(response)  # held here: dropped, it would close the connection
            yield stream

    @asynccontextmanager
    async def ask(
        self, surface: Surface, model: str, *, headers: dict[str, str] | None = None, **fields: object
    ) -> AsyncGenerator[Answering]:
        """Ask by a surface and read the stream inside the block; leaving it early closes the connection."""
        body = surface.body(model, PROMPT, is_stream=True, **fields)
        async with self.http.stream("POST", surface.path, json=body, headers=headers) as response:
            if not response.is_success:
                await response.aread()
            assert response.status_code == 200, response.text
            answering = Answering(surface, response)  # held here: dropped, it would close the connection
            yield answering

    async def ask_whole(
        self, surface: Surface, model: str, *, headers: dict[str, str] | None = None, **fields: object
    ) -> httpx.Response:
        """Ask by a surface and wait for the whole answer."""
        body = surface.body(model, PROMPT, is_stream=False, **fields)
        return await self.http.post(surface.whole_path or surface.path, json=body, headers=headers)

    async def ask_in_vain(
        self, surface: Surface, model: str, *, headers: dict[str, str] | None = None, **fields: object
    ) -> httpx.Response:
        """Ask for a stream that is refused, and return the refusal."""
        return await self.http.post(
            surface.path, json=surface.body(model, PROMPT, is_stream=True, **fields), headers=headers
        )

    async def cancel(self, job_id: str) -> httpx.Response:
        """Stop a job."""
        return await self.http.delete(f"/v1/chat/{job_id}")


def chat(model: str, **fields: object) -> dict[str, object]:
    """Return the body of a chat."""
    return {"model": model, "messages": ask(PROMPT), **fields}


def ask(text: str) -> list[dict[str, str]]:
    """Return the messages of a chat in which the user says one thing."""
    return [{"role": "user", "content": text}]
