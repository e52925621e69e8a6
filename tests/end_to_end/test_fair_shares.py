"""Whoever asks much does not keep whoever asks little waiting."""

from contextlib import AsyncExitStack

from tests.end_to_end.client import Client, ask
from tests.end_to_end.stack import SLOTS, Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang

JOBS = 4


async def test_two_users_take_turns_whoever_came_first(stack: Stack) -> None:
    """One user has taken all slots, and more jobs wait; then another comes: the slots go to each in turn."""
    gates = [stack.gate() for _ in range(SLOTS + 2 * JOBS)]
    model = stack.model(*(Answer((Hang(gate),)) for gate in gates))
    greedy, modest = await stack.newcomer(), await stack.newcomer()

    async with AsyncExitStack() as streams:
        first = await enqueue(streams, SLOTS, greedy, model, "greedy")
        await stack.until_double(model, *["active"] * SLOTS)
        second = await enqueue(streams, JOBS, greedy, model, "greedy")
        late = await enqueue(streams, JOBS, modest, model, "modest")
        ahead = [(await stream.next()).json["ahead"] for stream in (*second, *late)]
        for number, gate in enumerate(gates, start=1):
            stack.double.release(gate)
            await stack.until_double(model, *["completed"] * number, *["active"] * min(SLOTS, len(gates) - number))
        for stream in (*first, *second, *late):
            await stream.rest()

    assert ahead == [0, 1, 2, 3, 0, 2, 4, 6]
    served = [seen.request["messages"][0]["content"] for seen in stack.generations(model)]
    assert served == ["greedy"] * SLOTS + ["modest", "greedy"] * JOBS


async def test_a_batch_lets_others_go_first(stack: Stack) -> None:
    """Its user's row says so; who comes later stands before it, and its own user too with what is no batch."""
    model = stack.model(Answer((Hang(),)))
    greedy, batch, late = [await stack.newcomer() for _ in range(3)]
    await stack.execute(f"""UPDATE users SET limits = '{{"priority": "batch"}}' WHERE id = '{batch.account.id}'""")

    async with AsyncExitStack() as streams:
        await enqueue(streams, SLOTS, greedy, model, "greedy")
        await stack.until_double(model, *["active"] * SLOTS)
        waiting = [*await enqueue(streams, 2, batch, model, "batch"), *await enqueue(streams, 2, late, model, "late")]
        ahead = [(await stream.next()).json["ahead"] for stream in waiting]

    assert ahead == [0, 1, 0, 1]


async def enqueue(streams: AsyncExitStack, count: int, client: Client, model: str, prompt: str) -> list[EventStream]:
    """Return so many streams of jobs that are in the queue, in this order."""
    return [await streams.enter_async_context(client.stream(model, messages=ask(prompt))) for _ in range(count)]
