"""What pages of other origins may read, as their browsers are told."""

from collections.abc import AsyncGenerator

import httpx
import pytest

from tests.databases import Databases
from tests.processes import ProcessStarter

APP, OTHER_APP, STRANGER = "https://app.example.org", "http://localhost:3000", "https://app.example.org.evil.example"


@pytest.fixture(scope="module")
async def allowing(
    databases: Databases, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a gateway whose operator names two origins."""
    async with databases.fresh() as database_url, ProcessStarter(tmp_path_factory.mktemp("gateway")) as start:
        environment = {
            "REDIS_URL": f"{redis_server.removesuffix('/0')}/1",
            "DATABASE_URL": database_url,
            "ALLOWED_ORIGINS": f"{APP}, {OTHER_APP}",
        }
        gateway = await start("gateway", environment)
        async with httpx.AsyncClient(base_url=gateway.url) as client:
            yield client


def allowances(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("origin", [APP, OTHER_APP])
@pytest.mark.parametrize("path", ["/health", "/v1/auth/me", "/nowhere"], ids=["an answer", "a 401", "a 404"])
async def test_a_named_origin_may_read_every_answer(allowing: httpx.AsyncClient, path: str, origin: str) -> None:
    response = await allowing.get(path, headers={"Origin": origin})

    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert "X-Job-Id" in response.headers["Access-Control-Expose-Headers"]
    assert response.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("origin", [STRANGER, "null", "*", APP.upper(), f"{APP}/"])
async def test_another_origin_may_not(allowing: httpx.AsyncClient, origin: str) -> None:
    assert allowances(await allowing.get("/health", headers={"Origin": origin})) == {}


async def test_who_is_no_page_is_told_nothing_of_it(allowing: httpx.AsyncClient) -> None:
    assert allowances(await allowing.get("/health")) == {}


async def test_a_chat_with_its_headers_may_be_asked_for(allowing: httpx.AsyncClient) -> None:
    """A browser asks first, without the token that the chat will have."""
    asking = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }

    response = await allowing.options("/v1/chat/stream", headers=asking)

    assert response.is_success
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    allowed = {name.strip().lower() for name in response.headers["Access-Control-Allow-Headers"].split(",")}
    assert allowed >= {"authorization", "content-type", "idempotency-key", "x-on-disconnect", "x-request-id"}


async def test_nobody_is_named_unless_the_operator_does(client: httpx.AsyncClient) -> None:
    assert allowances(await client.get("/health", headers={"Origin": APP})) == {}
