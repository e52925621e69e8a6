"""`JWT_SECRET` is changed under gateways that are restarted one after the other, as docs/operations.md has it."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.processes import ProcessStarter, ServerProcess

OLD, NEW = "O" * 32, "N" * 32
ACCOUNT = {"email": "ada@example.org", "password": "a quiet harbour at dawn"}


class Site:
    """Two gateways, one of which may be ahead of the other."""

    def __init__(self, start_process: ProcessStarter, database_url: str, redis_url: str) -> None:
        self._start = start_process
        self._stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "RATE_LIMIT_ENABLED": "false"}
        self._processes: list[ServerProcess] = []
        self._clients: list[httpx.AsyncClient] = []
        self._closing = AsyncExitStack()

    async def open(self, *secrets: str) -> None:
        """Start both."""
        for _ in range(2):
            process = await self._start_gateway(secrets)
            self._processes.append(process)
            self._clients.append(await self._closing.enter_async_context(httpx.AsyncClient(base_url=process.url)))
        (await self._clients[0].post("/v1/auth/signup", json=ACCOUNT)).raise_for_status()

    async def restart(self, index: int, *secrets: str) -> None:
        """Have one of them go on with a secret, and perhaps another one that it accepts."""
        await self._processes[index].stop()
        await self._clients[index].aclose()
        self._processes[index] = process = await self._start_gateway(secrets)
        self._clients[index] = await self._closing.enter_async_context(httpx.AsyncClient(base_url=process.url))

    async def close(self) -> None:
        await self._closing.aclose()

    async def log_in(self, index: int) -> dict[str, str]:
        return (await self._clients[index].post("/v1/auth/login", json=ACCOUNT)).raise_for_status().json()

    async def lets_in(self, tokens: dict[str, str]) -> list[bool]:
        """Tell at which of the two an access token is good."""
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        return [(await client.get("/v1/auth/me", headers=bearer)).is_success for client in self._clients]

    async def refresh(self, index: int, tokens: dict[str, str]) -> dict[str, str]:
        answer = await self._clients[index].post("/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        return answer.raise_for_status().json()

    async def _start_gateway(self, secrets: tuple[str, ...]) -> ServerProcess:
        told = dict(zip(("JWT_SECRET", "JWT_SECRET_PREVIOUS"), secrets, strict=False))
        return await self._start("gateway", self._stores | told)


@pytest.fixture
async def site(start_process: ProcessStarter, database_url: str, redis_url: str) -> AsyncGenerator[Site]:
    site = Site(start_process, database_url, redis_url)
    await site.open(OLD)
    yield site
    await site.close()


async def test_nobody_notices_that_the_secret_is_changed(site: Site) -> None:
    """Whatever either gateway has signed is good at both, at each step of the way."""
    tokens = [await site.log_in(0)]
    for secrets in ((OLD, NEW), (NEW, OLD)):
        for index in range(2):
            await site.restart(index, *secrets)
            tokens += [await site.log_in(0), await site.log_in(1)]
            for known in tokens:
                assert await site.lets_in(known) == [True, True]
            tokens[0] = await site.refresh(index, tokens[0])
            tokens[0] = await site.refresh(1 - index, tokens[0])

    renewed = await site.refresh(0, tokens[0])
    for index in range(2):
        await site.restart(index, NEW)
    assert await site.lets_in(renewed) == [True, True]
    assert await site.lets_in(tokens[1]) == [False, False]  # by the old secret, which is forgotten
