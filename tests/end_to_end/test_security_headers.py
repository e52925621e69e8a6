"""Every answer says the same to browsers, whoever made it: a route, the router, the protocol, a stream."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import httpx
import pytest

from gateway.access import Access
from gateway.http_protocol import MAX_HEAD_BYTES
from gateway.security_headers import SECURITY_HEADERS
from infra.local.ports import free_port
from shared.ids import new_id
from shared.redis_keys import RUNNING
from tests.end_to_end.stack import SLOTS, Stack
from tests.hostile_requests import Route, hostile_requests, routes
from tests.ollama_double import Answer, Fail, Hang
from tests.raw_http import wire_to

Occasion = Callable[[Stack], Awaitable[httpx.Response]]

ROUTES = [route for route in routes() if route.method != "HEAD"]
TEXT, HANGS = Answer(("text",)), Answer(("text", Hang()))
ORIGIN = {"Origin": "https://app.example.org"}
ASYNC = {"Prefer": "respond-async"}
HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n"


def assert_secure(response: httpx.Response) -> None:
    """Each of the headers is there once."""
    for name, value in SECURITY_HEADERS:
        assert response.headers.get_list(name.decode()) == [value.decode()], (response, name)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", response.headers["X-Request-Id"])
    assert "server" not in response.headers


async def a_whole_answer(stack: Stack) -> httpx.Response:
    return await (await stack.client()).chat(stack.model(TEXT))


async def a_stream(stack: Stack) -> httpx.Response:
    async with (await stack.client()).stream(stack.model(TEXT)) as stream:
        await stream.rest()
        return stream.response


async def the_end_of_a_stream(stack: Stack) -> httpx.Response:
    client = await stack.client()
    async with client.stream(stack.model(TEXT)) as stream:
        *_, last = await stream.rest()
    return await client.http.get(f"/v1/chat/{stream.job_id}/stream", headers={"Last-Event-ID": last.id or ""})


async def an_event_that_is_none(stack: Stack) -> httpx.Response:
    answered = await a_whole_answer(stack)
    path = f"/v1/chat/{answered.headers['X-Job-Id']}/stream"
    return await (await stack.client()).http.get(path, headers={"Last-Event-ID": "x"})


async def a_stream_that_is_not_kept(stack: Stack) -> httpx.Response:
    job_id = (await a_whole_answer(stack)).headers["X-Job-Id"]
    await stack.until_recorded(job_id)
    await stack.redis.delete(f"ds:job:{job_id}", f"ds:log:{job_id}")  # as their expiry would
    return await (await stack.client()).http.get(f"/v1/chat/{job_id}/stream")


async def a_durable_job(stack: Stack) -> httpx.Response:
    return await (await stack.client()).chat(stack.model(TEXT), headers=ASYNC)


async def somebody_new(stack: Stack) -> httpx.Response:
    credentials = {"email": f"{new_id()}@example.org", "password": "a quiet harbour at dawn"}
    return await (await stack.client()).http.post("/v1/auth/signup", json=credentials)


async def somebody_known(stack: Stack) -> httpx.Response:
    client = await stack.client()
    credentials = {"email": client.account.email, "password": client.account.password}
    return await client.http.post("/v1/auth/signup", json=credentials)


async def a_cancelled_answer(stack: Stack) -> httpx.Response:
    model, client = stack.model(HANGS), await stack.client()
    request = asyncio.create_task(client.chat(model))
    await stack.until_double(model, "active")
    (job_id,) = await stack.redis.zrange(RUNNING + model, 0, -1)
    await client.cancel(job_id.decode())
    return await request


async def a_failed_answer(stack: Stack) -> httpx.Response:
    return await (await stack.client()).chat(stack.model(Answer((Fail("no", status=500),))))


async def an_answer_that_is_late(stack: Stack) -> httpx.Response:
    return await (await stack.client()).chat(stack.model(HANGS), timeout_ms=1)


async def a_full_queue(stack: Stack) -> httpx.Response:
    client = await stack.client(gateway=await stack.gateway(queue_max_depth=1))
    model = stack.model(HANGS)
    accepted: list[httpx.Response] = []
    for running in range(1, SLOTS + 1):
        accepted.append(await client.chat(model, headers=ASYNC))
        await stack.until_double(model, *["active"] * running)
    accepted.append(await client.chat(model, headers=ASYNC))
    refused = await client.chat(model, headers=ASYNC)
    for job in accepted:
        await client.cancel(job.json()["id"])
    return refused


async def too_many_requests(stack: Stack) -> httpx.Response:
    gateway = await stack.gateway(rate_limit_enabled=True, rate_limit_address_requests_per_minute=1)
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        await http.get("/v1/models")
        return await http.get("/v1/models")


async def a_closed_door(stack: Stack) -> httpx.Response:
    credentials = {"email": f"{new_id()}@example.org", "password": "a quiet harbour at dawn"}
    return await at_a_gateway_with(stack, "POST", "/v1/auth/signup", credentials, signup_mode="closed")


async def a_preflight(stack: Stack) -> httpx.Response:
    asking = ORIGIN | {"Access-Control-Request-Method": "POST"}
    return await at_a_gateway_with(stack, "OPTIONS", "/v1/chat", headers=asking, allowed_origins=ORIGIN["Origin"])


async def at_a_gateway_with(
    stack: Stack,
    method: str,
    path: str,
    json: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    **settings: object,
) -> httpx.Response:
    gateway = await stack.gateway(**settings)
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        return await http.request(method, path, json=json, headers=headers)


def said_by_hand(*pieces: bytes) -> Occasion:
    """Return what a gateway answers to bytes, which need not be HTTP."""

    async def occasion(stack: Stack) -> httpx.Response:
        gateway = await stack.gateway(server_read_timeout_secs=1)
        async with wire_to(gateway.url) as wire:
            await wire.send(*pieces)
            return await wire.answer()

    return occasion


OCCASIONS: dict[str, tuple[Occasion, int]] = {
    "a whole answer": (a_whole_answer, 200),
    "a stream": (a_stream, 200),
    "somebody new": (somebody_new, 201),
    "a durable job": (a_durable_job, 202),
    "the end of a stream": (the_end_of_a_stream, 204),
    "a preflight": (a_preflight, 204),
    "an event that is none": (an_event_that_is_none, 400),
    "what is not HTTP": (said_by_hand(HEAD + b"a\r\n\r\n"), 400),
    "a closed door": (a_closed_door, 403),
    "a method that is none": (said_by_hand(b"FOO / HTTP/1.1\r\n\r\n"), 405),
    "half a head": (said_by_hand(HEAD[:-1]), 408),
    "half a body": (
        said_by_hand(
            b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        ),
        408,
    ),
    "somebody known": (somebody_known, 409),
    "a stream that is not kept": (a_stream_that_is_not_kept, 410),
    "a body that is too large": (
        said_by_hand(
            b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999\r\n\r\n"
        ),
        413,
    ),
    "a head that is too large": (said_by_hand(HEAD + b"a: %b" % (b"b" * MAX_HEAD_BYTES)), 431),
    "too many requests": (too_many_requests, 429),
    "a cancelled answer": (a_cancelled_answer, 499),
    "a failed answer": (a_failed_answer, 502),
    "a full queue": (a_full_queue, 503),
    "an answer that is late": (an_answer_that_is_late, 504),
}
BUG = 500  # tests/gateway/test_error_responses.py has one


@pytest.mark.parametrize(("occasion", "status"), OCCASIONS.values(), ids=OCCASIONS.keys())
async def test_every_kind_of_answer(stack: Stack, occasion: Occasion, status: int) -> None:
    response = await occasion(stack)

    assert response.status_code == status, response.text
    assert_secure(response)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_every_route(stack: Stack, route: Route) -> None:
    """Its own answer, be it a refusal, and what the router says beside it."""
    http = (await stack.newcomer()).http  # whom some routes log out

    for method in ("OPTIONS", "HEAD", "TRACE", route.method):
        response = await http.request(method, route.at())
        assert_secure(response)
        if method == "OPTIONS" and route.access is not Access.OPERATOR:
            assert response.status_code == 204, response.text
            assert response.headers["Allow"]


def test_every_status_is_among_them() -> None:
    """A status that a route comes to have needs an occasion here."""
    documented = {status for route in ROUTES for status in route.statuses}
    tried = {status for _, status in OCCASIONS.values()} | {request.status for request in hostile_requests("x")}
    assert documented <= tried | {BUG}


async def test_the_metrics_own_port(stack: Stack) -> None:
    address = f"127.0.0.1:{free_port()}"
    await stack.add_gateway(prometheus_bind=address, metrics_token="x" * 32, server_read_timeout_secs=1)
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:
        answers = [
            await http.get("/metrics", headers={"Authorization": f"Bearer {'x' * 32}"}),
            await http.get("/metrics"),
            await http.get("/v1/models"),
            await http.post("/metrics"),
        ]
    for sent in (HEAD + b"a\r\n\r\n", HEAD[:-1]):
        async with wire_to(f"http://{address}") as wire:
            await wire.send(sent)
            answers.append(await wire.answer())

    assert [answer.status_code for answer in answers] == [200, 401, 404, 405, 400, 408]
    for answer in answers:
        assert_secure(answer)
