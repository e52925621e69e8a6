"""Clients come and leave, at any moment of their requests, and everything is as it was before.

The full size of this test is `LEAK_ROUNDS=1000`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count

import httpx
import psutil
import pytest
from msgspec import Struct

from tests.end_to_end.client import Client
from tests.end_to_end.stack import SLOTS, Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang
from tests.processes import ServerProcess
from tests.surfaces import COMPATIBLE, Surface
from tests.waiting import wait_until

ROUNDS = int(os.environ.get("LEAK_ROUNDS", "60"))
AT_ONCE, AT_ONCE_BEFORE = 6, 12  # the first clients open as many connections to the stores as will ever be needed
FORGOTTEN_S = 30.0  # a limit for hanging, not an expectation

OF_JOBS = (b"ds:job:", b"ds:log:", b"ds:payload:", b"ds:readers:", b"ds:idempotency:")
LATE = 6  # what pools may open late: three connections to Ollama, one to PostgreSQL for the first row, and the like

_numbers = count()


class Held(Struct, frozen=True):
    """What the product holds on to."""

    gateway_descriptors: int
    gateway_threads: int
    gateway_tasks: int
    worker_descriptors: int
    worker_threads: int
    worker_tasks: int
    database_connections: int

    def excess_over(self, before: "Held") -> "Excess":
        """Return what there is more of than before, beyond what may come late."""
        pairs = {name: (getattr(before, name), getattr(self, name)) for name in self.__struct_fields__}
        return Excess({name: (was, is_now) for name, (was, is_now) in pairs.items() if is_now > was + LATE})


class Excess(Struct, frozen=True):
    """What there is more of: (before, now); true when there is nothing of the kind, so that it can be waited for."""

    of: dict[str, tuple[int, int]]

    def __bool__(self) -> bool:
        return not self.of


@pytest.mark.timeout(120 + 2 * ROUNDS)
async def test_after_many_rounds(stack: Stack) -> None:
    gateway = await stack.gateway(stream_retention_secs=1, disconnect_grace_secs=0)
    client = await stack.client(gateway=gateway)
    model = stack.model(Answer(("Once", " upon", Hang())))
    keys_of_others = set(await stack.redis.keys())
    await leave_early(stack, client, model, rounds=2 * AT_ONCE_BEFORE, at_once=AT_ONCE_BEFORE)
    before = await held(stack, gateway)
    keys_before = await until_forgotten(stack, keys_of_others, prefixes=OF_JOBS)

    await leave_early(stack, client, model, rounds=ROUNDS, at_once=AT_ONCE)

    async def excess() -> Excess:
        return (await held(stack, gateway)).excess_over(before)

    await wait_until(excess, description="nothing is held that was not before", timeout_s=FORGOTTEN_S)
    await until_forgotten(stack, keys_before)
    await all_slots_are_free(stack, client)


async def leave_early(stack: Stack, client: Client, model: str, *, rounds: int, at_once: int) -> None:
    """Come and leave so often, each time at another moment."""
    ways: tuple[Callable[[Client, str], Awaitable[None]], ...] = (
        leave_at_once,
        leave_in_the_middle,
        leave_a_whole_answer,
        leave_a_second_reading,
        leave_with_a_key,
        cancel,
        *(partial(leave_another_surface, surface) for surface in COMPATIBLE),
    )

    async def come_and_leave(number: int) -> None:
        async with room:
            await ways[number % len(ways)](client, model)

    room = asyncio.Semaphore(at_once)
    async with asyncio.TaskGroup() as clients:
        for number in range(rounds):
            clients.create_task(come_and_leave(number))
    await stack.until_idle()


async def leave_at_once(client: Client, model: str) -> None:
    async with client.stream(model):
        pass


async def leave_in_the_middle(client: Client, model: str) -> None:
    async with client.stream(model) as stream:
        await stream.until("chunk")


async def leave_a_whole_answer(client: Client, model: str) -> None:
    request = asyncio.create_task(client.chat(model))
    async with client.stream(model) as stream:  # which is asked for later, and so begins later
        await stream.until("chunk")
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)


async def leave_a_second_reading(client: Client, model: str) -> None:
    async with (
        client.stream(model) as first,
        client.http.stream("GET", f"/v1/chat/{first.job_id}/stream") as response,
    ):
        await EventStream(response).until("chunk")


async def leave_with_a_key(client: Client, model: str) -> None:
    """The key is freed, and keeps nothing of the job for its day."""
    async with client.stream(model, headers={"Idempotency-Key": f"leaving {next(_numbers)}"}) as stream:
        await stream.until("chunk")


async def leave_another_surface(surface: Surface, client: Client, model: str) -> None:
    async with client.ask(surface, model) as answer:
        await answer.until_text("Once upon")


async def cancel(client: Client, model: str) -> None:
    async with client.stream(model) as stream:
        await stream.until("chunk")
        await client.cancel(stream.job_id)
        await stream.rest()


async def held(stack: Stack, gateway: ServerProcess) -> Held:
    """Look at the processes from outside, and at what they tell of themselves."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {stack.metrics_token}"}) as http:
        text = (await http.get(f"{gateway.url}/metrics")).text
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    of_gateway, of_worker = psutil.Process(gateway.pid), psutil.Process(stack.worker.pid)
    worker_tasks = [
        float(value) for name, value in figures.items() if f"-{stack.worker.pid}" in name and "tasks" in name
    ]
    return Held(
        gateway_descriptors=int(float(figures["process_open_fds"])),
        gateway_threads=of_gateway.num_threads(),
        gateway_tasks=int(float(figures["deepersensor_asyncio_tasks"])),
        worker_descriptors=of_worker.num_fds(),
        worker_threads=of_worker.num_threads(),
        worker_tasks=int(worker_tasks[0]),
        database_connections=await stack.database_connections(),
    )


async def until_forgotten(stack: Stack, kept: set[bytes], *, prefixes: tuple[bytes, ...] = (b"",)) -> set[bytes]:
    """Wait until Redis holds no key but these, of those with such prefixes; return all that it holds then."""

    async def forgotten() -> bool:
        return not any(key.startswith(prefixes) for key in set(await stack.redis.keys()) - kept)

    await wait_until(forgotten, description="Redis has forgotten the jobs", timeout_s=FORGOTTEN_S)
    return set(await stack.redis.keys())


async def all_slots_are_free(stack: Stack, client: Client) -> None:
    """As many jobs run at once as there are slots."""
    gate = stack.gate()
    model = stack.model(Answer(("Once", Hang(gate))))
    running = [asyncio.create_task(client.chat(model)) for _ in range(SLOTS)]
    await stack.until_double(model, *["active"] * SLOTS)
    stack.double.release(gate)
    assert [response.status_code for response in await asyncio.gather(*running)] == [200] * SLOTS
