"""A transcript is what a client has who read every event of a job."""

from collections.abc import Sequence

import pytest
from msgspec import Raw

from shared.events import (
    Chunk,
    Embedded,
    ErrorBody,
    ErrorDetail,
    Event,
    EventKind,
    Resumed,
    Started,
    Timings,
    Usage,
    encode_payload,
)
from shared.transcripts import Transcriber, Transcript, decode_transcript, encode_transcript, transcribe

USAGE = Usage(prompt_tokens=3, completion_tokens=5)
TIMINGS = Timings(queue_ms=1, load_ms=2, first_token_ms=7, total_ms=9)
ERROR = ErrorDetail("upstream_error", "server_error", "Ollama failed.", None, "r")
STARTED = (EventKind.STARTED, Started(job_id="1", worker="w", attempt=1))
DONE = (EventKind.DONE, Chunk(model="m", content="!", done=True, done_reason="stop", usage=USAGE, timings=TIMINGS))


def chunk(content: str, *, thinking: str = "", tool_calls: bytes = b"") -> tuple[EventKind, Chunk]:
    piece = Chunk(model="m", content=content, done=False)
    if thinking:
        piece = Chunk(model="m", content=content, done=False, thinking=thinking)
    if tool_calls:
        piece = Chunk(model="m", content=content, done=False, tool_calls=Raw(tool_calls))
    return EventKind.CHUNK, piece


def resumed(mode: str) -> tuple[EventKind, Resumed]:
    return EventKind.RESUMED, Resumed(attempt=2, mode="restarted" if mode == "restarted" else "continued")


def events(*pairs: tuple[EventKind, object]) -> list[Event]:
    return [Event(seq, kind.value, encode_payload(payload)) for seq, (kind, payload) in enumerate(pairs, 1)]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param([], Transcript(), id="nothing yet"),
        pytest.param([STARTED, chunk("a"), chunk("b")], Transcript(content="ab"), id="a part"),
        pytest.param(
            [STARTED, chunk("a"), DONE],
            Transcript(content="a!", done_reason="stop", usage=USAGE, timings=TIMINGS),
            id="the whole",
        ),
        pytest.param([chunk("a"), resumed("continued"), chunk("b")], Transcript(content="ab"), id="continued"),
        pytest.param(
            [chunk("a", thinking="x"), resumed("restarted"), chunk("b")], Transcript(content="b"), id="restarted"
        ),
        pytest.param(
            [chunk("a"), (EventKind.ERROR, ErrorBody(ERROR))], Transcript(content="a", error=ERROR), id="an error"
        ),
        pytest.param(
            [chunk("", thinking="h"), chunk("", thinking="m"), chunk("", tool_calls=b'[{"n":1.50}]')],
            Transcript(thinking="hm", tool_calls=[Raw(b'{"n":1.50}')]),
            id="thinking and tools",
        ),
        pytest.param(
            [(EventKind.DONE, Embedded("m", Raw(b"[[1]]"), done=True, usage=USAGE, timings=TIMINGS, job_id="1"))],
            Transcript(usage=USAGE, timings=TIMINGS),
            id="an embedding",
        ),
    ],
)
def test_it_has_what_was_sent(written: Sequence[tuple[EventKind, object]], expected: Transcript) -> None:
    assert transcribe(events(*written)) == expected


def test_portions_make_no_difference() -> None:
    transcriber = Transcriber()
    for event in events(STARTED, chunk("a"), resumed("restarted"), chunk("b"), DONE):
        transcriber.take([event])
    assert transcriber.transcript().content == "b!"


def test_what_is_stored_is_ascii_and_comes_back_as_it_was() -> None:
    transcript = Transcript(content="\u0000 \u2028 ü \U0001f600", tool_calls=[Raw(b'{"n":1.50}')], error=ERROR)
    text = encode_transcript(transcript)
    assert text.isascii()
    assert "\x00" not in text
    assert decode_transcript(text) == transcript
