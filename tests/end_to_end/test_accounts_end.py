"""Whoever logs out, or deletes their account, is gone everywhere: sessions, streams, jobs and what they said."""

from contextlib import AsyncExitStack

import httpx

from shared import erasure, redis_keys
from tests.end_to_end.client import CANARY, Client
from tests.end_to_end.stack import SLOTS, Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang
from tests.waiting import wait_until


async def delete_account(client: Client) -> httpx.Response:
    return await client.http.request("DELETE", "/v1/auth/me", json={"password": client.account.password})


async def test_a_deleted_account_leaves_nothing_behind(stack: Stack) -> None:
    """Jobs that run and jobs that wait, durable or not, are stopped; streams end, also at another gateway."""
    model = stack.model(Answer((f"{CANARY} of what is said", Hang(stack.gate()))))
    client = await stack.newcomer()
    elsewhere = await stack.client(client.account.email.partition("@")[0], gateway=stack.gateways[1])
    program = await stack.program(client, gateway=stack.gateways[1])
    said = await client.chat(stack.model(Answer((CANARY,))), headers={"Idempotency-Key": "for a day"})
    assert said.status_code == 200

    async with AsyncExitStack() as streams:
        running = await streams.enter_async_context(client.stream(model))
        await running.until("chunk")
        durable = await accept(client, model)
        await stack.until_double(model, *["active"] * 2)
        others = [await streams.enter_async_context(program.stream(model)) for _ in range(SLOTS - 2)]
        await stack.until_double(model, *["active"] * SLOTS)
        waiting = await streams.enter_async_context(client.stream(model))
        await waiting.until("queued")
        durable_waiting = await accept(client, model)
        read_again = EventStream(
            await streams.enter_async_context(elsewhere.http.stream("GET", f"/v1/chat/{running.job_id}/stream"))
        )
        await read_again.until("chunk")

        assert (await delete_account(client)).status_code == 204

        for stream in (running, *others, waiting, read_again):
            await stream.rest()

    await stack.until_idle()
    assert {generation.outcome for generation in stack.generations(model)} == {"aborted"}
    for gone in (client, elsewhere, program):
        await until_unknown(gone)
    assert await stack.rows_of(client.account.id) == {}
    assert await stack.keys_of(client.account.id) == []
    assert await stack.redis.exists(redis_keys.LOG + said.json()[-1]["job_id"]) == 0
    for job_id in (running.job_id, waiting.job_id, durable, durable_waiting):
        assert await stack.redis.exists(redis_keys.PAYLOAD + job_id) == 0
        assert await stack.redis.pttl(redis_keys.LOG + job_id) <= erasure.AFTER_MS


async def accept(client: Client, model: str) -> str:
    """Have a durable job accepted, and return its id."""
    accepted = await client.chat(model, headers={"Prefer": "respond-async"})
    assert accepted.status_code == 202
    return accepted.json()["id"]


async def test_whoever_logs_out_reads_no_further(stack: Stack) -> None:
    """At another gateway as well: the stream ends without its end, and nothing of the session is good."""
    model = stack.model(Answer(("Once", Hang(stack.gate()))))
    client = await stack.newcomer()
    elsewhere = await stack.client(client.account.email.partition("@")[0], gateway=stack.gateways[1])

    async with elsewhere.stream(model) as stream:
        await stream.until("chunk")
        assert (await client.http.post("/v1/auth/logout")).status_code == 204
        await stream.rest()

    assert not {event.type for event in stream.events} & {"error"}
    await until_unknown(elsewhere)
    await until_unknown(client)


async def until_unknown(client: Client) -> None:
    """Wait until a gateway lets the client in no more."""

    async def unknown() -> bool:
        return (await client.http.get("/v1/auth/me")).status_code == 401

    await wait_until(unknown, description="the account is gone")
