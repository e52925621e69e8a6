"""A stream has OpenAI's form: role first, one finish, usage if asked for, `[DONE]` last and never after a failure."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.streams import AnswerStream, ChatStream, TextStream
from shared.events import Chunk, Event, EventKind
from tests.job_events import ERROR, FAILED, STARTED, Written, chunk, done, events, resumed
from tests.openai_stream import OpenAIStream, read_stream

JOB_ID = "0199c0de-1234-7000-8000-00000000abcd"
CREATED = 0x0199C0DE1234 // 1000
CALLS = b'[{"function":{"name":"f","arguments":{"n":1.50}}},{"id":"c2","function":{"name":"g"}}]'
ROLE = {"role": "assistant", "content": ""}


def chat(*, includes_usage: bool = False) -> ChatStream:
    return ChatStream(job_id=JOB_ID, model="demo", includes_usage=includes_usage)


def text(*, includes_usage: bool = False) -> TextStream:
    return TextStream(job_id=JOB_ID, model="demo", includes_usage=includes_usage)


def read(stream: AnswerStream, *written: Written) -> OpenAIStream:
    return read_stream(stream.frames(events(*written)))


def deltas(*written: Written) -> list[Any]:
    return [choice["delta"] for choice in read(chat(), *written).choices]


def test_a_chunk_of_a_chat_is_openais() -> None:
    first, second, last = read(chat(), STARTED, chunk("Hi\u2028"), done()).chunks

    assert first == {
        "id": "chatcmpl-0199c0de12347000800000000000abcd",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": "demo",
        "system_fingerprint": "fp_ollama",
        "choices": [{"index": 0, "delta": ROLE, "logprobs": None, "finish_reason": None}],
    }
    assert second["choices"] == [
        {"index": 0, "delta": {"content": "Hi\u2028"}, "logprobs": None, "finish_reason": None}
    ]
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]


def test_thoughts_that_have_no_place_are_comments() -> None:
    """A model can think for minutes, and a line on which nothing comes is cut."""
    assert text().frames(events(chunk(thinking="hm"))) == b": thinking\n\n"


def test_a_chunk_of_a_text_is_openais() -> None:
    first, last = read(text(), STARTED, chunk(thinking="hm"), chunk("Hi"), done(reason="length")).chunks

    assert first == {
        "id": "cmpl-0199c0de12347000800000000000abcd",
        "object": "text_completion",
        "created": CREATED,
        "model": "demo",
        "system_fingerprint": "fp_ollama",
        "choices": [{"text": "Hi", "index": 0, "logprobs": None, "finish_reason": None}],
    }
    assert last["choices"] == [{"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}]


@pytest.mark.parametrize("stream", [chat, text])
def test_the_usage_comes_before_the_end_where_it_is_asked_for_and_is_null_in_the_others(stream: Any) -> None:  # noqa: ANN401
    answer = (chunk("a"), chunk("b"), done())

    assert read(stream(includes_usage=True), *answer).usage == {
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "total_tokens": 8,
    }
    assert read(stream(), *answer).usage is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param([done()], [ROLE, {}], id="nothing said"),
        pytest.param([chunk(""), done("a")], [ROLE, {"content": "a"}, {}], id="text in the last piece"),
        pytest.param(
            [chunk(thinking="h"), chunk("a", thinking="m"), done()],
            [ROLE, {"reasoning": "h"}, {"reasoning": "m"}, {"content": "a"}, {}],
            id="thoughts",
        ),
        pytest.param(
            [chunk("a"), resumed("continued"), chunk("b"), done()],
            [ROLE, {"content": "a"}, {"content": "b"}, {}],
            id="continued",
        ),
    ],
)
def test_a_chat_is_told_in_these_deltas(written: Sequence[Written], expected: list[Any]) -> None:
    assert deltas(*written) == expected


def test_tool_calls_are_numbered_over_the_whole_answer_and_are_its_finish() -> None:
    stream = read(chat(), chunk("a"), chunk(tool_calls=CALLS), done(tool_calls=b'[{"function":{"name":"h"}}]'))

    assert stream.tool_calls[0] == {
        "index": 0,
        "id": "call_00000000abcd_0",
        "type": "function",
        "function": {"name": "f", "arguments": '{"n":1.50}'},
    }
    assert [(call["index"], call["id"]) for call in stream.tool_calls[1:]] == [(1, "c2"), (2, "call_00000000abcd_2")]
    assert stream.finish_reason == "tool_calls"


def test_an_answer_that_was_cut_off_says_so_even_if_it_calls_tools() -> None:
    assert read(chat(), chunk(tool_calls=CALLS), done(reason="length")).finish_reason == "length"


def test_news_of_the_queue_are_comments() -> None:
    stream = chat()
    notices = [Event(0, EventKind.QUEUED.value, b'{"position":2}'), Event(0, EventKind.HEARTBEAT.value, b"")]

    assert stream.frames(notices) == b': queued {"position":2}\n\n: heartbeat\n\n'
    assert not stream.has_ended


@pytest.mark.parametrize("stream", [chat, text])
def test_a_failure_is_the_last_frame(stream: Any) -> None:  # noqa: ANN401
    failed = read(stream(), chunk("a"), FAILED)

    assert (failed.text, failed.error) == ("a", msgspec.to_builtins(ERROR))


def test_calls_that_are_none_are_a_failure_after_what_was_said_before() -> None:
    failed = read(chat(), chunk("a"), chunk(tool_calls=b'[{"name":"f"}]'), done())

    assert failed.text == "a"
    assert failed.error
    assert failed.error["code"] == "upstream_error"


pieces = st.builds(chunk, st.text(max_size=5), thinking=st.text(max_size=3), tool_calls=st.sampled_from([b"", CALLS]))
answers = st.tuples(
    st.lists(pieces | st.just(STARTED) | st.just(resumed("continued")), max_size=8),
    st.builds(done, st.text(max_size=5), reason=st.sampled_from(["stop", "length", "load"])) | st.just(FAILED),
)


def frames_of(stream: AnswerStream, answer: Sequence[Event], *, at_once: int) -> bytes:
    return b"".join(stream.frames(answer[at : at + at_once]) for at in range(0, len(answer), at_once))


@pytest.mark.parametrize("form", [chat, text])
@given(answer=answers, includes_usage=st.booleans(), at_once=st.integers(1, 9))
def test_any_answer_is_a_legal_stream(
    form: Any,  # noqa: ANN401
    answer: tuple[list[Written], Written],
    includes_usage: bool,  # noqa: FBT001
    at_once: int,
) -> None:
    written = [*answer[0], answer[1]]
    is_whole = answer[1] is not FAILED
    stream = form(includes_usage=includes_usage)
    read_back = read_stream(frames_of(stream, events(*written), at_once=at_once))

    assert stream.has_ended
    assert (read_back.error is None) == is_whole
    assert (read_back.usage is not None) == (includes_usage and is_whole)
    assert read_back.text == "".join(piece.content for _, piece in written if isinstance(piece, Chunk))
    if form is chat:
        thoughts = "".join(piece.thinking or "" for _, piece in written if isinstance(piece, Chunk))
        assert read_back.reasoning == thoughts
        calls = 2 * sum(bool(piece.tool_calls) for _, piece in written if isinstance(piece, Chunk))
        assert [call["index"] for call in read_back.tool_calls] == list(range(calls))
