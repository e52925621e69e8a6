"""Whatever breaks in the middle of an answer, the client's text goes on where it was, if the model can do that."""

import asyncio
import signal

import pytest

from tests.end_to_end.stack import Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Cut, End, Fail, Hang, OllamaDouble, Raw, Step
from tests.processes import ServerProcess

SAGA = "saga:latest"
WORDS = ("Once", " upon ", "a", "\n\n", "time", ",", " é\U0001f525", ".\n")
SILENCE_MS = 600
FAULTS: dict[str, Step] = {
    "a reset": Cut("rst"),
    "a closed connection": Cut("fin"),
    "a stall": Hang(),
    "a malformed line": Raw(b"<html>\n"),
    "an error line": Fail(),
    "a clean end without done": End(),
}


async def add_pair(stack: Stack, *, twin: OllamaDouble | None = None) -> tuple[OllamaDouble, ServerProcess]:
    """Add a worker beside a host whose model goes on with what it is given."""
    double = await stack.add_double(OllamaDouble([SAGA], goes_on=True, twin=twin))
    worker = await stack.add_worker(double, ollama_default_timeout_ms=SILENCE_MS, worker_drain_secs=0)
    await stack.until_served(SAGA)
    return double, worker


def assert_goes_on(stream: EventStream, *, attempt: int = 2) -> None:
    """See that the text is the model's own, told of as one answer with one estimated usage."""
    assert stream.text == "".join(WORDS)
    (resumed,) = [event for event in stream.events if event.type == "resumed"]
    assert resumed.json == {"attempt": attempt, "mode": "continued"}
    with_id = [event.id for event in stream.events if event.id]
    assert with_id == [str(number) for number in range(1, len(with_id) + 1)]
    closing = stream.events[-1].json
    assert (closing["done"], closing["done_reason"]) == (True, "stop")
    assert closing["usage"]["estimated"] is True
    assert closing["usage"]["completion_tokens"] >= len(WORDS)


@pytest.mark.parametrize("place", [1, 4, len(WORDS)])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_when_ollama_fails(stack: Stack, fault: Step, place: int) -> None:
    double, _ = await add_pair(stack)
    double.script(SAGA, Answer((*WORDS[:place], fault)), Answer(WORDS))

    async with (await stack.client()).stream(SAGA) as stream:
        await stream.rest()

    assert_goes_on(stream)
    row = await stack.until_recorded(stream.job_id)
    assert (row["status"], row["attempts"]) == ("completed", 2)
    assert row["completion_tokens"] == stream.events[-1].json["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("end", "attempt"), [(signal.SIGKILL, 2), (signal.SIGTERM, 1)], ids=["killed", "stopped without time to finish"]
)
async def test_when_the_worker_is_lost(stack: Stack, end: signal.Signals, attempt: int) -> None:
    double, lost = await add_pair(stack)
    double.script(SAGA, Answer((*WORDS[:4], Hang())), Answer((*WORDS[:4], Hang())), Answer(WORDS))
    client = await stack.client()

    async with client.stream(SAGA) as stream:
        for _ in range(4):
            await stream.until("chunk")
        whole = asyncio.create_task(client.chat(SAGA))
        await double.until(lambda state: len(state.generations) == 2, "the worker has both jobs")
        lost.send(end)
        await stack.add_worker(double)
        await asyncio.gather(stream.rest(), whole)
    assert await lost.wait() == (0 if end is signal.SIGTERM else -end)

    assert_goes_on(stream, attempt=attempt)
    assert "".join(chunk["content"] for chunk in whole.result().json()) == "".join(WORDS)
