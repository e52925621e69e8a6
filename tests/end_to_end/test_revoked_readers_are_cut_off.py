"""Who is not let in any more reads no further, also on streams that were open before, at whichever gateway."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from shared.revocations import Revocations
from tests.databases import Databases
from tests.end_to_end.client import Client
from tests.end_to_end.stack import Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang
from tests.waiting import wait_until

WORDS = tuple(f"{number} " for number in range(12))
SAID = "".join(WORDS[:5])

Revoke = Callable[[Stack, Client, Client], Awaitable[object]]


class Reading:
    """What is being read of answers that have stopped in the middle."""

    def __init__(self, model: str, gate: str) -> None:
        self.model = model
        self.gate = gate
        self.links: list[str] = []
        self.cut_off: list[EventStream] = []  # is to be
        self.untouched: list[EventStream] = []


@asynccontextmanager
async def reading(stack: Stack, *, revoked: list[Client], others: list[Client]) -> AsyncGenerator[Reading]:
    """Have each client read an answer, and a browser with each link of those who will be revoked."""
    gate = stack.gate()
    now = Reading(stack.model(Answer((*WORDS[:5], Hang(gate), *WORDS[5:]))), gate)
    async with AsyncExitStack() as open_streams:
        browser = await open_streams.enter_async_context(httpx.AsyncClient())
        for client in (*revoked, *others):
            stream = await open_streams.enter_async_context(client.stream(now.model))
            queued = await stream.until("queued")
            (now.cut_off if client in revoked else now.untouched).append(stream)
            if client in revoked:
                now.links.append(queued.json["stream_url"])
                response = await open_streams.enter_async_context(browser.stream("GET", now.links[-1]))
                now.cut_off.append(EventStream(response))
        for stream in (*now.cut_off, *now.untouched):
            await stream.until("chunk")
        yield now


async def delete_key(_: Stack, owner: Client, program: Client) -> None:
    revoked = await owner.http.delete(f"/v1/api-keys/{program.account.id}")
    assert revoked.status_code == 204


async def delete_key_unheard(stack: Stack, _: Client, program: Client) -> None:
    """As when the publication is lost."""
    await stack.execute(f"UPDATE api_keys SET revoked_at = now() WHERE id = '{program.account.id}'")


async def test_when_its_user_is_disabled(stack: Stack) -> None:
    """By link, by token and by key alike: the stream ends without its end, and whoever comes back meets a 401."""
    disabled, other = await stack.newcomer(), await stack.newcomer()
    program = await stack.program(disabled, gateway=stack.gateways[1])

    async with reading(stack, revoked=[disabled, program], others=[other]) as now:
        await stack.disable(disabled)
        await asyncio.gather(*(stream.rest() for stream in now.cut_off))
        await check_out(now)
        stack.double.release(now.gate)
        await asyncio.gather(*(stream.rest() for stream in now.untouched))

    assert [stream.text for stream in now.untouched] == ["".join(WORDS)]


@pytest.mark.parametrize("revoke", [delete_key, delete_key_unheard], ids=["heard", "unheard"])
async def test_when_its_key_is_revoked_at_every_gateway(stack: Stack, revoke: Revoke) -> None:
    """Its user and the user's other keys go on."""
    owner = await stack.newcomer()
    program, other_program = await stack.program(owner), await stack.program(owner)
    elsewhere = Client(stack.gateways[1].url, program.account)

    async with reading(stack, revoked=[program, elsewhere], others=[owner, other_program]) as now:
        await revoke(stack, owner, program)
        await asyncio.gather(*(stream.rest() for stream in now.cut_off))
        await check_out(now)
        for client in (program, elsewhere):
            assert (await client.chat(now.model)).status_code == 401
        stack.double.release(now.gate)
        await asyncio.gather(*(stream.rest() for stream in now.untouched))
    await elsewhere.http.aclose()

    assert [stream.text for stream in now.untouched] == ["".join(WORDS)] * 2


async def test_while_postgresql_does_not_answer_by_what_redis_knows(stack: Stack, databases: Databases) -> None:
    owner = await stack.newcomer()
    program, other = await stack.program(owner), await stack.program(owner, gateway=stack.gateways[1])

    async with reading(stack, revoked=[program], others=[other]) as now:
        async with databases.frozen():
            await Revocations(stack.redis).revoke(f"key:{program.account.id}")
            await asyncio.gather(*(stream.rest() for stream in now.cut_off))

            async def is_out() -> bool:
                return (await program.http.get("/v1/models")).status_code == 401

            await wait_until(is_out, description="the key is refused")
            assert (await other.http.get("/v1/models")).status_code == 200
        stack.double.release(now.gate)
        await asyncio.gather(*(stream.rest() for stream in now.untouched))

    assert [stream.text for stream in now.untouched] == ["".join(WORDS)]


async def check_out(now: Reading) -> None:
    """Those who were revoked had no end, and do not get in again by their links."""
    for stream in now.cut_off:
        assert not {event.type for event in stream.events} & {"error"}
        assert stream.text == SAID
    async with httpx.AsyncClient() as browser:
        for link in now.links:
            refused = await browser.get(link, headers={"Last-Event-ID": now.cut_off[0].events[-1].id or ""})
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthenticated")
