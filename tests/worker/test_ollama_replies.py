"""Bytes become replies, however they are cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ContextLengthExceededError, UpstreamError, UpstreamInterruptedError
from worker.ollama_replies import Reply, ReplyReader

DONE = b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}\n'


def line(text: str) -> bytes:
    return json.dumps({"message": {"role": "assistant", "content": text}, "done": False}).encode() + b"\n"


def read(*pieces: bytes) -> tuple[list[Reply], ReplyReader]:
    reader = ReplyReader()
    replies = [reply for piece in pieces for reply in reader.feed(piece)]
    return replies + reader.finish(), reader


@given(tokens=st.lists(st.text()), cuts=st.lists(st.integers(min_value=1, max_value=200), min_size=1), is_escaped=...)
def test_any_cut_gives_the_same_replies(tokens: list[str], cuts: list[int], is_escaped: bool) -> None:  # noqa: FBT001
    """Wherever the network cuts the bytes, each token comes out as it went in, once and in order."""
    whole = b"".join(
        json.dumps({"message": {"content": token}}, ensure_ascii=is_escaped).encode() + b"\n" for token in tokens
    )
    pieces: list[bytes] = []
    while whole:
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(whole[:size])
        whole = whole[size:]
    replies, reader = read(*pieces, DONE)
    assert [reply.content for reply in replies] == [*tokens, ""]
    assert reader.is_done
    assert reader.fault is None


def test_a_read_gives_all_its_lines_at_once() -> None:
    reader = ReplyReader()
    assert [reply.content for reply in reader.feed(line("a") + line("b") + line("c")[:-1])] == ["a", "b"]
    assert [reply.content for reply in reader.feed(b"\n" + line("d"))] == ["c", "d"]


def test_a_last_line_needs_no_newline() -> None:
    replies, reader = read(line("a"), DONE.rstrip())
    assert [reply.done for reply in replies] == [False, True]
    assert reader.fault is None


def test_blank_lines_and_carriage_returns_are_no_replies() -> None:
    replies, reader = read(b"\n\r\n", line("a").replace(b"\n", b"\r\n"), b"  \n", DONE)
    assert [reply.content for reply in replies] == ["a", ""]
    assert reader.fault is None


def test_nothing_after_the_last_reply_counts() -> None:
    replies, reader = read(line("a") + DONE + line("b") + b"garbage\n")
    assert [reply.content for reply in replies] == ["a", ""]
    assert reader.is_done
    assert reader.fault is None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param(rb'{"message":{"content":"a\ud800b"}}', "a\ufffdb", id="a lone high surrogate"),
        pytest.param(rb'{"message":{"content":"\uDC00"}}', "\ufffd", id="a lone low surrogate in capitals"),
        pytest.param(rb'{"message":{"content":"\ud83d\ude00"}}', "\U0001f600", id="a pair of surrogates"),
        pytest.param(b'{"message":{"content":"a\xff\xc3b"}}', "a\ufffd\ufffdb", id="broken UTF-8"),
        pytest.param(b'{"message":{"content":"a\x00\x0cb"}}', "a\x00\x0cb", id="control characters as they are"),
        pytest.param(rb'{"message":{"content":"a\u0000b"}}', "a\x00b", id="an escaped NUL"),
        pytest.param(b'{"message":{"content":"a","thinking":null,"tool_calls":null}}', "a", id="null fields"),
        pytest.param(b'{"message":null,"response":"a"}', "a", id="no message at all"),
    ],
)
def test_text_that_is_no_clean_json_is_mended(raw: bytes, text: str) -> None:
    replies, reader = read(line("before") + raw + b"\n" + line("after") + DONE)
    assert [reply.content for reply in replies] == ["before", text, "after", ""]
    assert reader.fault is None


@pytest.mark.parametrize(
    ("count", "taken_as"),
    [
        pytest.param(-5, 0, id="negative"),
        pytest.param(2**31, 2**31 - 1, id="huge"),
        pytest.param(10**19, 2**31 - 1, id="beyond 64 bits"),
    ],
)
def test_nonsense_counts_are_taken_as_the_nearest_that_can_be(count: int, taken_as: int) -> None:
    (reply,), _ = read(b'{"done":true,"prompt_eval_count":%d,"eval_count":%d,"load_duration":%d}\n' % ((count,) * 3))

    assert (reply.prompt_tokens, reply.completion_tokens) == (taken_as, taken_as)
    assert 0 <= reply.load_ms < 2**31


def test_tool_calls_come_through_as_they_are() -> None:
    calls = b'[{"function":{"name":"f","arguments":{"b":1.50,"a":12345678901234567890.5}}}]'
    replies, _ = read(b'{"message":{"content":"","tool_calls":' + calls + b"}}\n", DONE)
    tool_calls = replies[0].tool_calls
    assert tool_calls is not None
    assert bytes(tool_calls) == calls


@pytest.mark.parametrize("calls", [b"null", b"[]"], ids=["null", "an empty array"])
def test_no_tool_calls_are_none(calls: bytes) -> None:
    replies, _ = read(b'{"message":{"content":"a","tool_calls":' + calls + b"}}\n", DONE)
    assert replies[0].tool_calls is None


def test_tool_calls_with_lone_surrogates_are_mended() -> None:
    replies, _ = read(rb'{"message":{"tool_calls":[{"function":{"name":"\ud800"}}]}}' + b"\n", DONE)
    tool_calls = replies[0].tool_calls
    assert tool_calls is not None
    assert json.loads(bytes(tool_calls)) == [{"function": {"name": "\ufffd"}}]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"garbage", id="no JSON"),
        pytest.param(b'{"message":{"content":"a"}', id="an object without its end"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b'{"message":{"content":5}}', id="a number for text"),
        pytest.param(b'{"done":"yes"}', id="text for a truth value"),
        pytest.param(b'{"message":' + b"[" * 100_000, id="nested absurdly"),
    ],
)
def test_a_line_that_is_no_reply_interrupts_after_those_before_it(raw: bytes) -> None:
    replies, reader = read(line("a") + raw + b"\n" + line("b") + DONE)
    assert [reply.content for reply in replies] == ["a"]
    assert isinstance(reader.fault, UpstreamInterruptedError)
    assert not reader.is_done


def test_an_end_before_the_last_reply_interrupts() -> None:
    replies, reader = read(line("a"))
    assert [reply.content for reply in replies] == ["a"]
    assert isinstance(reader.fault, UpstreamInterruptedError)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        pytest.param("out of memory", UpstreamError, "Ollama failed: out of memory", id="as Ollama says it"),
        pytest.param({"message": "out of memory"}, UpstreamError, "Ollama failed: out of memory", id="as an object"),
        pytest.param(["?"], UpstreamError, "Ollama failed.", id="as anything else"),
        pytest.param(
            "the request exceeds the available context size, try increasing it",
            ContextLengthExceededError,
            "Ollama refused to go on: the request exceeds the available context size, try increasing it",
            id="for a prompt that is too long",
        ),
    ],
)
def test_an_error_line_is_the_end(error: object, kind: type[UpstreamError], message: str) -> None:
    replies, reader = read(line("a") + json.dumps({"error": error}).encode() + b"\n" + line("b"))
    assert [reply.content for reply in replies] == ["a"]
    assert type(reader.fault) is kind
    assert str(reader.fault) == message
