"""An answer that breaks off at every attempt is told as an error, and never dressed up as an end."""

import pytest

from tests.end_to_end.stack import SLOTS, Stack
from tests.ollama_double import BUSY, Answer, Cut, End, Fail, Headers, OllamaDouble, Raw, Step

MIDDLE: dict[str, tuple[Step, str]] = {
    "a reset": (Cut("rst"), "upstream_interrupted"),
    "a closed connection": (Cut("fin"), "upstream_interrupted"),
    "a clean end without done": (End(), "upstream_interrupted"),
    "a line that says what failed": (Fail(), "upstream_error"),
    "garbage": (Raw(b"\x00\xff not JSON\n"), "upstream_interrupted"),
    "half a line and the end": (Raw(b'{"message":{"content":"lost'), "upstream_interrupted"),
    "HTML of a proxy": (Raw(b"<html><h1>502 Bad Gateway</h1></html>\n"), "upstream_interrupted"),
    "JSON that is no reply": (Raw(b'["canary"]\n'), "upstream_interrupted"),
    "a reply of other types": (Raw(b'{"message":{"content":1},"done":"no"}\n'), "upstream_interrupted"),
}
BEGINNING: dict[str, tuple[Step, str, int]] = {
    "400": (Fail("invalid options: canary", status=400), "upstream_rejected", 422),
    "404": (Fail("model 'canary' not found, try pulling it first", status=404), "model_not_found", 404),
    "429": (Fail("slow down", status=429), "upstream_busy", 502),
    "500": (Fail("llama runner process has terminated: exit status 2", status=500), "upstream_error", 502),
    "503": (BUSY, "upstream_busy", 502),
    "a prompt longer than the context": (
        Fail("the prompt is longer than the context length currently available", status=400),
        "context_length_exceeded",
        422,
    ),
    "a reset": (Cut("rst"), "upstream_unreachable", 502),
    "a closed connection": (Cut("fin"), "upstream_unreachable", 502),
    "a clean end without a word": (End(), "upstream_interrupted", 502),
    "garbage": (Raw(b"<html>\n"), "upstream_interrupted", 502),
}


@pytest.mark.parametrize(("fault", "code"), MIDDLE.values(), ids=MIDDLE.keys())
async def test_in_the_middle_of_a_stream(stack: Stack, fault: Step, code: str) -> None:
    model = stack.model(Answer(("Once", " upon", fault, End())))

    async with (await stack.client()).stream(model) as stream:
        events = await stream.rest()

    assert stream.text == "Once upon" * 3
    assert [event.type for event in events if event.type != "queued"] == [
        *("started", "chunk", "chunk"),
        *("resumed", "chunk", "chunk") * 2,
        "error",
    ]
    assert events[-1].id == "10"
    assert events[-1].json.keys() == {"error"}
    error = events[-1].json["error"]
    assert error.keys() == {"code", "type", "message", "param", "request_id"}
    assert error["code"] == code
    assert error["request_id"] == stream.response.headers["X-Request-Id"]


@pytest.mark.parametrize(("fault", "code"), MIDDLE.values(), ids=MIDDLE.keys())
async def test_in_the_middle_of_a_whole_answer(stack: Stack, fault: Step, code: str) -> None:
    model = stack.model(Answer(("Once", " upon", fault, End())))

    response = await (await stack.client()).chat(model)

    assert response.status_code == 502
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["request_id"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize(("fault", "code", "status"), BEGINNING.values(), ids=BEGINNING.keys())
async def test_before_the_first_word(stack: Stack, fault: Step, code: str, status: int) -> None:
    model = stack.model(Answer((fault, End())))
    client = await stack.client()

    async with client.stream(model) as stream:
        events = await stream.rest()
    whole = await client.chat(model)

    assert [event.type for event in events if event.type not in ("queued", "started")] == ["error"]
    assert events[-1].json["error"]["code"] == code
    assert whole.status_code == status
    assert whole.json()["error"]["code"] == code


async def test_ollama_is_away(stack: Stack) -> None:
    double = await stack.add_double(OllamaDouble(["solo"]))
    await stack.add_worker(double)
    await stack.until_served("solo:latest")
    client = await stack.client()
    await double.stop()

    async with client.stream("solo", timeout_ms=1000) as stream:  # until then the job waits for it
        events = await stream.rest()

    assert events[-1].json["error"]["code"] == "upstream_unreachable"
    assert str(double.url.rpartition(":")[2]) not in events[-1].data  # where it is, is nobody's business


async def test_a_stream_that_only_had_its_headers(stack: Stack) -> None:
    model = stack.model(Answer((Headers(), Cut())))

    async with (await stack.client()).stream(model) as stream:
        events = await stream.rest()

    assert events[-1].json["error"]["code"] == "upstream_unreachable"


async def test_what_failed_gives_its_slot_back(stack: Stack) -> None:
    broken = Answer(("Once", Cut()))
    model = stack.model(*[broken] * (3 * 2 * SLOTS), Answer(("upon",)))
    client = await stack.client()

    for _ in range(2 * SLOTS):
        assert (await client.chat(model)).status_code == 502

    assert (await client.chat(model)).status_code == 200
