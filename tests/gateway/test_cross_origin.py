"""What pages of other origins may read, as their browsers are told."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.databases import Databases
from tests.processes import ProcessStarter

APP, OTHER_APP, STRANGER = "https://app.example.org", "http://localhost:3000", "https://app.example.org.evil.example"
OPENAI_SENDS = (
    "authorization,content-type,openai-beta,openai-organization,openai-project,x-stainless-arch,"
    "x-stainless-helper-method,x-stainless-lang,x-stainless-os,x-stainless-package-version,x-stainless-retry-count,"
    "x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout"
)
OLLAMA_SENDS = "accept,authorization,content-type,user-agent"


@pytest.fixture(scope="module")
async def start(
    databases: Databases, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Callable[..., Awaitable[httpx.AsyncClient]]]:
    """Start a gateway with some settings and return a client of it."""
    async with AsyncExitStack() as stack:
        database_url = await stack.enter_async_context(databases.fresh())
        starter = await stack.enter_async_context(ProcessStarter(tmp_path_factory.mktemp("gateway")))

        async def start(**settings: str) -> httpx.AsyncClient:
            servers = {"REDIS_URL": f"{redis_server.removesuffix('/0')}/1", "DATABASE_URL": database_url}
            gateway = await starter("gateway", servers | settings)
            return await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.url))

        yield start


@pytest.fixture(scope="module")
async def allowing(start: Callable[..., Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    """A client of a gateway whose operator names two origins."""
    return await start(ALLOWED_ORIGINS=f"{APP}, http://LOCALHOST:3000, https://default.example.org:443")


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


@pytest.mark.parametrize(
    "origin", [STRANGER, "null", "*", "", APP.upper(), f"{APP}/", f"{APP}:8443", f"{APP}, {OTHER_APP}", "https://é"]
)
async def test_another_origin_may_not(allowing: httpx.AsyncClient, origin: str) -> None:
    response = await allowing.get("/health", headers=[(b"Origin", origin.encode())])

    assert allowances(response) == {}
    assert response.headers["Vary"] == "Origin"  # or a cache would show this answer to who may read one


async def test_two_origins_are_none(allowing: httpx.AsyncClient) -> None:
    assert allowances(await allowing.get("/health", headers=[("Origin", APP), ("Origin", APP)])) == {}


async def test_another_origin_is_not_told_what_it_could_ask(allowing: httpx.AsyncClient) -> None:
    asking = {"Origin": STRANGER, "Access-Control-Request-Method": "POST"}
    assert allowances(await allowing.options("/v1/chat", headers=asking)) == {}


async def test_a_default_port_is_left_out_as_browsers_do(allowing: httpx.AsyncClient) -> None:
    response = await allowing.get("/health", headers={"Origin": "https://default.example.org"})
    assert response.headers["Access-Control-Allow-Origin"] == "https://default.example.org"


async def test_who_is_no_page_is_told_nothing_of_it(allowing: httpx.AsyncClient) -> None:
    response = await allowing.get("/health")

    assert allowances(response) == {}
    assert response.headers["Vary"] == "Origin"


async def test_all_origins_may_be_named(start: Callable[..., Awaitable[httpx.AsyncClient]]) -> None:
    client = await start(ALLOWED_ORIGINS="*")

    response = await client.get("/health", headers={"Origin": STRANGER})

    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert response.headers["Vary"] == "Origin"


async def test_nobody_s_origin_is_not_among_all(start: Callable[..., Awaitable[httpx.AsyncClient]]) -> None:
    client = await start(ALLOWED_ORIGINS="*")
    asking = {"Origin": "null", "Access-Control-Request-Method": "POST"}

    assert allowances(await client.get("/health", headers={"Origin": "null"})) == {}
    assert allowances(await client.options("/v1/chat", headers=asking)) == {}


async def test_what_is_allowed_is_exactly_what_the_operator_says(
    start: Callable[..., Awaitable[httpx.AsyncClient]],
) -> None:
    client = await start(
        ALLOWED_ORIGINS=APP,
        CORS_ALLOW_CREDENTIALS="true",
        CORS_ALLOW_METHODS="GET",
        CORS_ALLOW_HEADERS="Authorization",
        CORS_EXPOSE_HEADERS="Retry-After",
    )
    asking = {"Origin": APP, "Access-Control-Request-Method": "DELETE"}

    assert allowances(await client.options("/v1/chat", headers=asking)) == {
        "access-control-allow-origin": APP,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET",
        "access-control-allow-headers": "Authorization",
        "access-control-expose-headers": "Retry-After",
        "access-control-max-age": "600",
    }


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


@pytest.mark.parametrize("sent", [OPENAI_SENDS, OLLAMA_SENDS], ids=["OpenAI's client", "Ollama's client"])
async def test_official_clients_may_send_what_they_send(allowing: httpx.AsyncClient, sent: str) -> None:
    asking = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": sent}

    response = await allowing.options("/openai/v1/chat/completions", headers=asking)

    allowed = {name.strip().lower() for name in response.headers["Access-Control-Allow-Headers"].split(",")}
    assert allowed >= set(sent.split(","))


async def test_how_much_is_left_and_whether_to_ask_again_may_be_read(allowing: httpx.AsyncClient) -> None:
    response = await allowing.get("/health", headers={"Origin": APP})

    exposed = {name.strip().lower() for name in response.headers["Access-Control-Expose-Headers"].split(",")}
    assert exposed >= {"retry-after", "x-should-retry", "x-request-id"}
    assert exposed >= {
        f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
    }


async def test_nobody_is_named_unless_the_operator_does(client: httpx.AsyncClient) -> None:
    response = await client.get("/health", headers={"Origin": APP})

    assert allowances(response) == {}
    assert "Vary" not in response.headers
