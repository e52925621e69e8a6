"""A stream speaks before the model does, has the same form every time, and never falls silent."""

import asyncio
from contextlib import AsyncExitStack

from gateway.security_headers import SECURITY_HEADERS
from shared.ids import is_id
from tests.end_to_end.stack import SLOTS, Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang


async def test_queued_and_started_arrive_while_the_model_thinks(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer((Hang(gate), "at last")))

    async with (await stack.client()).stream(model) as stream:
        queued = await stream.next()
        started = await stream.next()
        stack.double.release(gate)
        await stream.rest()

    assert stream.parser.raw.startswith(b"retry: 1000\n\nevent: queued\n")
    assert (queued.type, queued.id) == ("queued", None)
    assert queued.json.items() >= {"job_id": stream.job_id, "position": 1, "ahead": 0, "estimated_wait_ms": 0}.items()
    assert (started.type, started.id) == ("started", "1")
    assert started.json.keys() == {"job_id", "worker", "attempt"}
    assert (started.json["job_id"], started.json["attempt"]) == (stream.job_id, 1)
    assert stream.text == "at last"


async def test_a_stream_from_its_first_event_to_its_last(stack: Stack) -> None:
    model = stack.model(Answer(("one", "two", "three"), load_ms=3))

    async with (await stack.client()).stream(model) as stream:
        events = await stream.rest()

    logged = [event for event in events if event.type != "queued"]
    assert [event.type for event in logged] == ["started", "chunk", "chunk", "chunk", "chunk"]
    assert [event.id for event in logged] == ["1", "2", "3", "4", "5"]
    *pieces, last = [event.json for event in logged[1:]]
    assert pieces == [{"model": model, "content": text, "done": False} for text in ("one", "two", "three")]
    timings = last.pop("timings")
    assert last == {
        "model": model,
        "content": "",
        "done": True,
        "done_reason": "stop",
        "usage": {"prompt_tokens": 5, "completion_tokens": 3},
        "job_id": stream.job_id,
    }
    assert timings.keys() == {"queue_ms", "load_ms", "first_token_ms", "total_ms", "prompt_eval_ms", "eval_ms"}
    assert (timings["load_ms"], timings["prompt_eval_ms"], timings["eval_ms"]) == (3, 1.0, 1.0)
    assert 0 <= timings["queue_ms"] <= timings["total_ms"]
    assert 3 <= timings["first_token_ms"] <= timings["total_ms"]


async def test_the_headers_of_a_stream(stack: Stack) -> None:
    model = stack.model(Answer(("text",)))

    async with (await stack.client()).stream(model) as stream:
        headers = stream.response.headers
        await stream.rest()

    assert headers["Content-Type"].partition(";")[0] == "text/event-stream"
    assert headers["X-Accel-Buffering"] == "no"
    assert is_id(headers["X-Job-Id"])
    assert is_id(headers["X-Request-Id"])
    assert headers.items() >= {(name.decode(), value.decode()) for name, value in SECURITY_HEADERS}


async def test_streams_that_have_nothing_to_tell_send_heartbeats(stack: Stack) -> None:
    """While the model is silent, and while the job waits for a slot."""
    gate = stack.gate()
    model = stack.model(Answer((Hang(gate), "text")))
    client = await stack.client()

    async def until_heartbeat(stream: EventStream) -> None:
        while not stream.parser.comments:
            await stream.read()

    async with AsyncExitStack() as open_streams:
        streams = [await open_streams.enter_async_context(client.stream(model)) for _ in range(SLOTS + 1)]
        await asyncio.gather(*map(until_heartbeat, streams))
        stack.double.release(gate)  # not before the last one: who has a slot hears nothing of its wait any more
        await asyncio.gather(*(stream.rest() for stream in streams))

    assert all("heartbeat" in stream.parser.comments for stream in streams)
