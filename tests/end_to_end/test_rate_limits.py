"""Who asks too often is told so exactly, and pays nothing for being told."""

import asyncio
from collections import Counter

import httpx
import pytest

from shared.redis_keys import limit
from tests.end_to_end.client import Client, chat
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer
from tests.processes import ServerProcess

BURST = 3
PER_ADDRESS = 12


@pytest.fixture
async def gateway(stack: Stack) -> ServerProcess:
    """One request a minute and three at once; a proxy in front says where requests come from."""
    return await stack.gateway(
        rate_limit_enabled=True,
        rate_limit_requests_per_minute=1,
        rate_limit_burst=BURST,
        rate_limit_address_requests_per_minute=PER_ADDRESS,
        trusted_proxy_ips="127.0.0.1",
    )


@pytest.fixture
async def client(stack: Stack, gateway: ServerProcess) -> Client:
    """A user who has spent nothing."""
    return await stack.newcomer(gateway=gateway)


async def test_every_answer_tells_what_is_left(stack: Stack, client: Client) -> None:
    model = stack.model(Answer(("text",)))

    whole = await client.chat(model, headers=coming_from("192.0.2.1"))
    async with client.stream(model, headers=coming_from("192.0.2.2")) as stream:
        await stream.rest()

    tokens = '"user-tokens";q=100000;w=60;qu="tokens"'
    assert whole.headers["RateLimit-Policy"] == f'"user";q=1;w=60, "address";q=12;w=60, {tokens}'
    assert whole.headers["RateLimit"].startswith('"user";r=2;t=60, "address";r=11;t=5, "user-tokens";r=98')
    assert stream.response.headers["RateLimit-Policy"] == whole.headers["RateLimit-Policy"]
    assert stream.response.headers["RateLimit"].startswith('"user";r=1;')


async def test_one_too_many_is_refused_and_costs_nothing(stack: Stack, client: Client) -> None:
    model = stack.model(Answer(("text",)))
    headers = coming_from("192.0.2.3")
    for _ in range(BURST):
        assert (await client.chat(model, headers=headers)).status_code == 200
    keys = [limit("user", client.account.id), limit("address", "192.0.2.3")]
    before = await stack.redis.mget(keys)

    refused = [
        await client.http.post(path, json=chat(model), headers=headers) for path in ("/v1/chat", "/v1/chat/stream")
    ]

    assert await stack.redis.mget(keys) == before
    for response in refused:
        assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limited")
        assert response.json()["error"]["type"] == "rate_limit_error"
        assert response.headers["RateLimit-Policy"].startswith('"user";q=1;w=60, "address";q=12;w=60')
        assert response.headers["RateLimit"].startswith('"user";r=0;t=')
        assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert len(stack.generations(model)) == BURST


async def test_of_200_at_once_exactly_the_burst_passes(stack: Stack, client: Client) -> None:
    model = stack.model(Answer(("text",)))
    headers = coming_from("192.0.2.7")

    answers = await asyncio.gather(*(client.chat(model, headers=headers) for _ in range(200)))

    assert Counter(answer.status_code for answer in answers) == {200: BURST, 429: 200 - BURST}
    assert len(stack.generations(model)) == BURST


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/chat/{}/stream"), ("DELETE", "/v1/chat/{}")])
async def test_reading_again_and_stopping_are_requests_like_others(
    stack: Stack, client: Client, method: str, path: str
) -> None:
    headers = coming_from(f"192.0.2.{100 + len(path)}")
    first = await client.chat(stack.model(Answer(("text",))), headers=headers)
    await stack.until_recorded(
        first.headers["X-Job-Id"]
    )  # its end is told a moment before it is no job to stop any more

    answers = [
        await client.http.request(method, path.format(first.headers["X-Job-Id"]), headers=headers) for _ in range(BURST)
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert first.headers["RateLimit-Policy"].startswith(answers[0].headers["RateLimit-Policy"])
    assert answers[0].headers["RateLimit"].startswith('"user";r=1;')
    assert int(answers[-1].headers["Retry-After"]) > 0


async def test_one_user_does_not_pay_for_another(stack: Stack, client: Client, gateway: ServerProcess) -> None:
    model = stack.model(Answer(("text",)))
    for _ in range(BURST):
        await client.chat(model, headers=coming_from("192.0.2.4"))

    other = await stack.newcomer(gateway=gateway)

    assert (await other.chat(model, headers=coming_from("192.0.2.4"))).status_code == 200


async def test_a_mistake_is_paid_by_the_address(stack: Stack, client: Client) -> None:
    response = await client.http.post("/v1/chat", json={}, headers=coming_from("192.0.2.5"))

    assert response.status_code == 422
    assert await stack.redis.exists(limit("address", "192.0.2.5"))
    assert not await stack.redis.exists(limit("user", client.account.id))


async def test_a_wrong_token_is_paid_by_the_address(gateway: ServerProcess) -> None:
    headers = coming_from("192.0.2.6") | {"Authorization": "Bearer canary"}

    async with httpx.AsyncClient(base_url=gateway.url, headers=headers) as http:
        statuses = [(await http.post("/v1/chat")).status_code for _ in range(2 * PER_ADDRESS)]

    assert statuses[:PER_ADDRESS] == [401] * PER_ADDRESS
    assert statuses[-1] == 429


@pytest.mark.parametrize("path", ["/v1/models", "/v1/auth/login"])
async def test_one_address_asks_too_often(gateway: ServerProcess, path: str) -> None:
    """All addresses of an IPv6 customer are one; other addresses do not pay for it."""
    number = len(path)  # an address that nobody else uses
    method = "GET" if path == "/v1/models" else "POST"

    async with httpx.AsyncClient(base_url=gateway.url) as http:
        responses = [
            await http.request(method, path, headers=coming_from(f"2001:db8:{number}::{host:x}"))
            for host in range(2 * PER_ADDRESS)
        ]
        elsewhere = await http.request(method, path, headers=coming_from(f"2001:db8:{number}:1::"))

    assert all(response.status_code != 429 for response in responses[:PER_ADDRESS])
    assert responses[-1].status_code == 429
    assert responses[-1].headers["RateLimit-Policy"].endswith('"address";q=12;w=60')
    assert 1 <= int(responses[-1].headers["Retry-After"]) <= 5
    assert elsewhere.status_code != 429


def coming_from(address: str) -> dict[str, str]:
    """Return what a proxy adds to a request."""
    return {"X-Forwarded-For": address}
