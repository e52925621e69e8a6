"""Whatever a job's events are, its answer is lines of JSON with the exact text, and one end."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ollama_api.lines import CHAT, GENERATE, AnswerLines, Form
from shared.events import (
    Chunk,
    ErrorBody,
    ErrorDetail,
    Event,
    EventKind,
    Queued,
    Resumed,
    Started,
    Timings,
    Usage,
    encode_payload,
)
from tests.clocks import TurnedClock

CALLS = [{"id": "call_1", "function": {"index": 0, "name": "wetter", "arguments": {"ort": "Zürich", "n": 1.10}}}]
TIMINGS = Timings(queue_ms=1, load_ms=20, first_token_ms=30, total_ms=400, prompt_eval_ms=5.25, eval_ms=60.001)
ENDING = {
    "done": True,
    "done_reason": "stop",
    "total_duration": 400_000_000,
    "load_duration": 20_000_000,
    "prompt_eval_count": 7,
    "prompt_eval_duration": 5_250_000,
    "eval_count": 0,
    "eval_duration": 60_001_000,
}


class FixedClock(TurnedClock):
    """A clock that shows one time."""

    def now_ms(self) -> int:
        return 1_700_000_000_042


def lines_of(form: Form, model: str = "llama3") -> AnswerLines:
    return AnswerLines(form, model=model, clock=FixedClock())


def chunk(content: str, *, thinking: str = "", calls: Sequence[object] = ()) -> Event:
    return Event(1, EventKind.CHUNK.value, encode_payload(piece(content, thinking=thinking, calls=calls)))


def piece(content: str, *, thinking: str = "", calls: Sequence[object] = ()) -> Chunk:
    return Chunk(
        model="llama3:latest",
        content=content,
        done=False,
        thinking=thinking or msgspec.UNSET,
        tool_calls=msgspec.Raw(msgspec.json.encode(calls)) if calls else msgspec.UNSET,
    )


def done(content: str = "", *, reason: str = "stop", thinking: str = "") -> Event:
    last = msgspec.structs.replace(
        piece(content, thinking=thinking),
        done=True,
        done_reason=reason,
        usage=Usage(prompt_tokens=7, completion_tokens=0),
        timings=TIMINGS,
        job_id="id",
    )
    return Event(2, EventKind.DONE.value, encode_payload(last))


def error(message: str) -> Event:
    body = ErrorBody(ErrorDetail(code="timeout", type="api_error", message=message, param=None, request_id="id"))
    return Event(3, EventKind.ERROR.value, encode_payload(body))


HEARTBEAT = Event(0, EventKind.HEARTBEAT.value, b"")
NOTICES = [
    HEARTBEAT,
    Event(0, EventKind.QUEUED.value, encode_payload(Queued("id", "url", 1, 0, 9))),
    Event(1, EventKind.STARTED.value, encode_payload(Started("id", "worker", 1))),
    Event(1, EventKind.RESUMED.value, encode_payload(Resumed(2, "continued"))),
]


def read(written: bytes) -> list[Any]:
    """Read lines as every client does: those who split at any line end of Unicode's included."""
    text = written.decode()
    assert text.endswith("\n")
    assert text.splitlines() == text[:-1].split("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_a_piece_of_a_chat_is_a_message() -> None:
    assert read(lines_of(CHAT).write([chunk(" a", thinking="b", calls=CALLS)])) == [
        {
            "model": "llama3",
            "created_at": "2023-11-14T22:13:20.042000000Z",
            "message": {"role": "assistant", "content": " a", "thinking": "b", "tool_calls": CALLS},
            "done": False,
        }
    ]


def test_a_piece_of_an_answer_to_a_prompt_is_a_response() -> None:
    assert read(lines_of(GENERATE).write([chunk(" a", thinking="b")])) == [
        {
            "model": "llama3",
            "created_at": "2023-11-14T22:13:20.042000000Z",
            "response": " a",
            "thinking": "b",
            "done": False,
        }
    ]


def test_what_a_piece_does_not_have_is_left_out() -> None:
    (line,) = read(lines_of(CHAT).write([chunk("a")]))

    assert line["message"] == {"role": "assistant", "content": "a"}


@pytest.mark.parametrize("form", [CHAT, GENERATE], ids=["chat", "generate"])
def test_the_last_line_has_counts_and_durations_in_nanoseconds(form: Form) -> None:
    (line,) = read(lines_of(form).write([done()]))

    assert {name: line[name] for name in line if name not in {"model", "created_at", "message", "response"}} == ENDING


def test_a_reason_that_an_old_ollama_does_not_give_is_left_out() -> None:
    (line,) = read(lines_of(CHAT).write([done(reason="")]))

    assert line["done"]
    assert "done_reason" not in line


@pytest.mark.parametrize("notice", NOTICES, ids=["heartbeat", "queued", "started", "continued"])
def test_events_without_text_are_a_line_without_text(notice: Event) -> None:
    """The connection must not look dead, and NDJSON knows no comments."""
    (line,) = read(lines_of(CHAT).write([notice]))

    assert (line["message"], line["done"]) == ({"role": "assistant", "content": ""}, False)


def test_events_beside_text_are_no_line() -> None:
    assert len(read(lines_of(CHAT).write([*NOTICES, chunk("a"), HEARTBEAT, chunk("b")]))) == 2


def test_an_error_is_a_line_of_its_own_form() -> None:
    assert read(lines_of(CHAT).write([chunk("a"), error("It failed.")]))[1:] == [{"error": "It failed."}]


@pytest.mark.parametrize("model", ["llama3", "hf.co/some-body/model:q4_K_M", "a.b/c-d:e_f"])
def test_the_model_is_named_as_the_client_named_it(model: str) -> None:
    assert read(lines_of(CHAT, model).write([chunk("a")]))[0]["model"] == model


def test_a_whole_chat_is_one_object_with_all_of_it() -> None:
    events = [*NOTICES, chunk("a", thinking="b"), chunk("c ü\u0085", thinking="d", calls=CALLS), chunk("", calls=CALLS)]

    answer = json.loads(lines_of(CHAT).write_whole([*events, done(" e")]))

    assert answer == {
        "model": "llama3",
        "created_at": "2023-11-14T22:13:20.042000000Z",
        "message": {"role": "assistant", "content": "ac ü\u0085 e", "thinking": "bd", "tool_calls": CALLS * 2},
        **ENDING,
    }


def test_a_whole_answer_to_a_prompt_is_one_object_with_all_of_it() -> None:
    answer = json.loads(lines_of(GENERATE).write_whole([chunk("a"), chunk("b"), done()]))

    assert answer == {"model": "llama3", "created_at": "2023-11-14T22:13:20.042000000Z", "response": "ab", **ENDING}


@pytest.mark.parametrize(
    ("form", "said"),
    [(CHAT, {"message": {"role": "assistant", "content": ""}}), (GENERATE, {"response": ""})],
    ids=["chat", "generate"],
)
def test_an_unloaded_model_is_told_of_as_ollama_does(form: Form, said: dict[str, Any]) -> None:
    assert json.loads(lines_of(form).write_unloaded()) == {
        "model": "llama3",
        "created_at": "2023-11-14T22:13:20.042000000Z",
        **said,
        "done": True,
        "done_reason": "unload",
    }


def test_the_arguments_of_a_call_stay_the_very_bytes_that_the_worker_wrote() -> None:
    calls = b'[{"function":{"name":"f","arguments":{"n":1.10,"m":1e2,"big":12345678901234567890123}}}]'
    raw = msgspec.structs.replace(piece(""), tool_calls=msgspec.Raw(calls))

    line = lines_of(CHAT).write([Event(1, EventKind.CHUNK.value, encode_payload(raw))])

    assert calls in line


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
pieces = st.builds(chunk, texts, thinking=texts, calls=st.sampled_from([(), CALLS]))
ends = st.one_of(st.builds(done, texts, thinking=texts), st.builds(error, texts))
batches = st.lists(st.lists(st.one_of(pieces, st.sampled_from(NOTICES)), min_size=1), max_size=10)


@given(batches=batches, end=ends, joined=st.booleans(), form=st.sampled_from([CHAT, GENERATE]))
def test_any_events_are_legal_lines_with_the_exact_text_and_one_end(
    batches: list[list[Event]], end: Event, *, joined: bool, form: Form
) -> None:
    lines = lines_of(form)
    sent = [*batches[:-1], [*batches[-1], end]] if joined and batches else [*batches, [end]]

    answer = read(b"".join(lines.write(events) for events in sent))

    *before, last = answer
    assert all(line["done"] is False for line in before)
    failed = end.kind == EventKind.ERROR.value
    assert failed == ("error" in last)
    assert failed or last["done"] is True
    told = before if failed else answer
    said = [line["message"] if form is CHAT else {**line, "content": line["response"]} for line in told]
    events = [event for batch in sent for event in batch if event.kind in (EventKind.CHUNK.value, EventKind.DONE.value)]
    chunks = [msgspec.json.decode(event.payload) for event in events]
    for field in ("content", "thinking"):
        assert "".join(one.get(field, "") for one in said) == "".join(one.get(field, "") for one in chunks)
    assert [one["tool_calls"] for one in said if "tool_calls" in one] == [
        one["tool_calls"] for one in chunks if "tool_calls" in one
    ]
