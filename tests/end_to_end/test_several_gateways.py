"""It does not matter which gateway a client reaches, and one that stops does so in order."""

import asyncio
import signal

import httpx

from shared.ids import new_id
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, Hang
from tests.waiting import wait_until


async def test_a_token_of_one_is_good_at_the_other(stack: Stack) -> None:
    model = stack.model(Answer(("text",)))

    for gateway in stack.gateways:
        client = await stack.client("ada", gateway=gateway)
        assert (await client.chat(model)).status_code == 200
        assert (await client.http.get("/v1/auth/me")).json()["id"] == client.account.id


async def test_both_offer_the_same_models(stack: Stack) -> None:
    async with httpx.AsyncClient() as http:
        lists = [(await http.get(f"{gateway.url}/v1/models")).json() for gateway in stack.gateways]

    assert lists[0] == lists[1]


async def test_a_gateway_that_is_stopped_finishes_its_answers(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate), " upon")))
    gateway = await stack.add_gateway()
    client = await stack.client(gateway=gateway)

    whole = asyncio.create_task(client.chat(model))
    await stack.until_double(model, "active")
    gateway.send(signal.SIGTERM)
    await until_refusing(gateway.url)
    stack.double.release(gate)

    assert (await whole).status_code == 200
    assert await gateway.wait() == 0


async def test_a_gateway_that_cannot_wait_for_an_answer_says_so_and_cancels_its_job(stack: Stack) -> None:
    model = stack.model(Answer(("Once", Hang())))
    gateway = await stack.add_gateway(gateway_drain_secs=1)
    client = await stack.client(gateway=gateway)

    whole = asyncio.create_task(client.chat(model))
    await stack.until_double(model, "active")
    gateway.send(signal.SIGTERM)
    refused = await whole

    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (503, "draining")
    assert error["request_id"] == refused.headers["X-Request-Id"]
    assert refused.headers["Retry-After"] == "1"
    assert (await stack.until_recorded(refused.headers["X-Job-Id"]))["error_code"] == "cancelled"
    await stack.until_double(model, "aborted")
    assert await gateway.wait() == 0


async def test_an_answer_that_a_gateway_could_not_wait_for_is_there_for_who_has_the_key(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate), " upon")))
    gateway = await stack.add_gateway(gateway_drain_secs=1, disconnect_grace_secs=60)
    key = {"Idempotency-Key": new_id()}

    whole = asyncio.create_task((await stack.client(gateway=gateway)).chat(model, headers=key))
    await stack.until_double(model, "active")
    gateway.send(signal.SIGTERM)
    refused = await whole
    assert await gateway.wait() == 0
    again = asyncio.create_task((await stack.client()).chat(model, headers=key))
    stack.double.release(gate)

    assert (refused.status_code, (await again).status_code) == (503, 200)
    assert again.result().headers["X-Job-Id"] == refused.headers["X-Job-Id"]
    await stack.until_double(model, "completed")


async def test_an_idle_gateway_is_stopped(stack: Stack) -> None:
    gateway = await stack.add_gateway()

    await gateway.stop(expected_exit_code=0)


async def until_refusing(url: str) -> None:
    """Wait until nobody listens at a URL."""

    async def is_refused() -> bool:
        async with httpx.AsyncClient() as http:
            try:
                await http.get(f"{url}/health")
            except httpx.ConnectError:
                return True
            return False

    await wait_until(is_refused, description=f"nobody listens at {url}")
