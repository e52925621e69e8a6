"""What an address may do, seen by a client of a real gateway."""

from collections.abc import AsyncGenerator

import httpx
import pytest

from shared.ids import new_id
from tests.databases import Databases
from tests.processes import ProcessStarter, ServerProcess

PER_MINUTE = 3


@pytest.fixture(scope="module")
async def gateway(
    databases: Databases, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[ServerProcess]:
    async with databases.fresh() as database_url, ProcessStarter(tmp_path_factory.mktemp("gateway")) as start:
        environment = {
            "REDIS_URL": redis_server,
            "DATABASE_URL": database_url,
            "RATE_LIMIT_ADDRESS_REQUESTS_PER_MINUTE": str(PER_MINUTE),
            "TRUSTED_PROXY_IPS": "127.0.0.1",
        }
        yield await start("gateway", environment)


@pytest.fixture
async def client(gateway: ServerProcess, redis_url: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the gateway; that Redis is emptied first makes all limits whole."""
    del redis_url
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        yield client


async def headers_of_new_user(client: httpx.AsyncClient) -> dict[str, str]:
    """Sign up and log in, which are two requests."""
    credentials = {"email": f"{new_id()}@example.org", "password": "a long enough password"}
    await client.post("/v1/auth/signup", json=credentials)
    login = await client.post("/v1/auth/login", json=credentials)
    return {"Authorization": f"Bearer {login.json()['access_token']}"}


async def test_a_route_for_anybody_is_limited_by_address(client: httpx.AsyncClient) -> None:
    answers = [await client.get("/v1/models") for _ in range(PER_MINUTE + 1)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"address";q=3;w=60'
    assert answers[0].headers["RateLimit"] == '"address";r=2;t=20'
    refusal = answers[-1]
    assert refusal.json()["error"]["code"] == "rate_limited"
    assert 1 <= int(refusal.headers["Retry-After"]) <= 20
    assert refusal.headers["RateLimit"].startswith('"address";r=0;t=')


async def test_refusals_are_counted(client: httpx.AsyncClient) -> None:
    async def count(series: str) -> int:
        text = (await client.get("/metrics")).text
        return sum(int(float(line.split()[1])) for line in text.splitlines() if line.startswith(series))

    series = (
        'deepersensor_refusals_total{code="rate_limited"}',
        'deepersensor_rate_limit_refusals_total{scope="address",unit="requests"}',
    )
    before = [await count(name) for name in series]

    for _ in range(PER_MINUTE + 2):
        await client.get("/v1/models")

    assert [await count(name) for name in series] == [number + 2 for number in before]


async def test_addresses_are_those_of_the_clients_behind_a_trusted_proxy(client: httpx.AsyncClient) -> None:
    for _ in range(PER_MINUTE):
        await client.get("/v1/models", headers={"X-Forwarded-For": "192.0.2.1"})

    neighbour = await client.get("/v1/models", headers={"X-Forwarded-For": "192.0.2.2"})
    exhausted = await client.get("/v1/models", headers={"X-Forwarded-For": "192.0.2.1"})

    assert (neighbour.status_code, exhausted.status_code) == (200, 429)


async def test_failed_authentication_is_charged_until_it_is_refused_unheard(client: httpx.AsyncClient) -> None:
    guess = {"Authorization": "Bearer guess"}

    answers = [await client.get("/v1/auth/me", headers=guess) for _ in range(PER_MINUTE + 1)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert (await client.get("/v1/models")).status_code == 429


async def test_failed_validation_is_charged(client: httpx.AsyncClient) -> None:
    user = await headers_of_new_user(client)

    answers = [await client.post("/v1/chat", json={"nonsense": True}, headers=user) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [422, 429]


async def test_a_user_spends_their_own_limit_and_the_address_s(client: httpx.AsyncClient) -> None:
    user = await headers_of_new_user(client)

    answer = await client.get("/v1/auth/me", headers=user)

    assert answer.headers["RateLimit-Policy"] == '"user";q=60;w=60, "address";q=3;w=60'
    assert answer.headers["RateLimit"].startswith('"user";r=59;t=1, "address";r=0;t=')
