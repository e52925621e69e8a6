"""Workers can be stopped and lost at any time; clients notice as little as can be. Under load: `tests/faults`."""

import asyncio
import signal

import pytest

from tests.end_to_end.stack import Stack
from tests.event_stream import EventStream, SentEvent
from tests.ollama_double import Answer, Hang, OllamaDouble
from tests.processes import ServerProcess

NOVEL = "novel:latest"


async def test_a_worker_that_is_stopped_finishes_what_it_has(stack: Stack) -> None:
    gate = stack.gate()
    double, worker = await add_pair(stack, Answer(("Once", Hang(gate), " upon")))
    client = await stack.client()

    async with client.stream(NOVEL) as stream:
        await stream.until("chunk")
        worker.send(signal.SIGTERM)
        await stack.until_served()  # the model is not offered any more
        double.release(gate)
        await stream.rest()

    assert stream.text == "Once upon"
    assert stream.events[-1].json["done"]
    assert await worker.wait() == 0


@pytest.mark.parametrize(
    ("end", "attempts"),
    [(signal.SIGTERM, [1, 1]), (signal.SIGKILL, [1, 2])],
    ids=["stopped without time to finish", "killed"],
)
async def test_what_a_lost_worker_had(stack: Stack, end: signal.Signals, attempts: list[int]) -> None:
    """Another worker does it: silently when nothing was sent, otherwise the client is told to drop what it has."""
    answers = (Answer(("Once", Hang())), Answer((Hang(),)), Answer(("Half", Hang())))
    double, lost = await add_pair(stack, *answers, worker_drain_secs=0)
    client = await stack.client()

    async with client.stream(NOVEL) as half_told, client.stream(NOVEL) as untold:
        await half_told.until("chunk")
        await untold.until("started")
        whole = asyncio.create_task(client.chat(NOVEL))
        await double.until(lambda state: len(state.generations) == len(answers), "the worker has three jobs")
        await add_pair(stack, Answer(("upon a time",)))
        lost.send(end)
        await asyncio.gather(half_told.rest(), untold.rest(), whole)
    assert await lost.wait() == (0 if end is signal.SIGTERM else -end)

    assert [event.json["attempt"] for event in of_type("started", untold)] == attempts
    assert [event.id for event in untold.events if event.id] == ["1", "2", "3", "4"]
    assert untold.text == "upon a time"
    (resumed,) = of_type("resumed", half_told)
    assert resumed.json == {"attempt": attempts[-1], "mode": "restarted"}
    assert [event.id for event in half_told.events if event.id] == ["1", "2", "3", "4", "5"]
    after = half_told.events[half_told.events.index(resumed) + 1 :]
    assert "".join(event.json["content"] for event in after) == "upon a time"
    assert [chunk["content"] for chunk in whole.result().json()] == ["upon a time", ""]


async def test_an_idle_worker_is_killed(stack: Stack) -> None:
    """Nobody waits for it, and what only it had is not offered any more."""
    _, worker = await add_pair(stack, Answer(("text",)))
    model = stack.model(Answer(("text",)))
    client = await stack.client()

    await worker.kill()

    responses = await asyncio.gather(*(client.chat(model) for _ in range(20)))
    assert {response.status_code for response in responses} == {200}
    await stack.until_served()


async def add_pair(stack: Stack, *answers: Answer, **settings: object) -> tuple[OllamaDouble, ServerProcess]:
    """Add a worker beside a double of its own, whose one model is NOVEL."""
    double = await stack.add_double(OllamaDouble([NOVEL]))
    double.script(NOVEL, *answers)
    worker = await stack.add_worker(double, **settings)
    await stack.until_served(NOVEL)
    return double, worker


def of_type(type_: str, stream: EventStream) -> list[SentEvent]:
    """Return the events of one type."""
    return [event for event in stream.events if event.type == type_]
