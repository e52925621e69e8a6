"""A transcript is what a client has who read every event of a job."""

from collections.abc import Sequence

import pytest
from msgspec import Raw

from shared.events import Embedded, EventKind
from shared.transcripts import Transcriber, Transcript, decode_transcript, encode_transcript, transcribe
from tests.job_events import ERROR, FAILED, STARTED, TIMINGS, USAGE, Written, chunk, done, events, resumed


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param([], Transcript(), id="nothing yet"),
        pytest.param([STARTED, chunk("a"), chunk("b")], Transcript(content="ab"), id="a part"),
        pytest.param(
            [STARTED, chunk("a"), done("!")],
            Transcript(content="a!", done_reason="stop", usage=USAGE, timings=TIMINGS),
            id="the whole",
        ),
        pytest.param([chunk("a"), resumed("continued"), chunk("b")], Transcript(content="ab"), id="continued"),
        pytest.param(
            [chunk("a", thinking="x"), resumed("restarted"), chunk("b")], Transcript(content="b"), id="restarted"
        ),
        pytest.param([chunk("a"), FAILED], Transcript(content="a", error=ERROR), id="an error"),
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
def test_it_has_what_was_sent(written: Sequence[Written], expected: Transcript) -> None:
    assert transcribe(events(*written)) == expected


def test_portions_make_no_difference() -> None:
    transcriber = Transcriber()
    for event in events(STARTED, chunk("a"), resumed("restarted"), chunk("b"), done("!")):
        transcriber.take([event])
    assert transcriber.transcript().content == "b!"


def test_what_is_stored_is_ascii_and_comes_back_as_it_was() -> None:
    transcript = Transcript(content="\u0000 \u2028 ü \U0001f600", tool_calls=[Raw(b'{"n":1.50}')], error=ERROR)
    text = encode_transcript(transcript)
    assert text.isascii()
    assert "\x00" not in text
    assert decode_transcript(text) == transcript
