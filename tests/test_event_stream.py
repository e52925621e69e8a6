import pytest

from tests.event_stream import EventParser, EventStreamError, SentEvent

STREAM = (
    'retry: 1000\n\nevent: queued\ndata: {"a":1}\n\n: heartbeat\n\nid: 1\nevent: chunk\ndata: {"t":"ü😀"}\n\n'
).encode()

WRONG = {
    "it ends inside an event": b'event: chunk\ndata: {"a":1}\n',
    "it ends inside a line": b"event: chunk\ndata: {}\n\nevent: er",
    "it ends inside a character": b"event: chunk\ndata: {}\n\n: \xf0\x9f",
    "a field that nobody knows": b"event: chunk\nmeta: x\ndata: {}\n\n",
    "a line of text that slipped out of its field": b"event: chunk\ndata: one\ntwo\n\n",
    "an event without a type": b"data: {}\n\n",
    "an event without data": b"event: chunk\n\n",
    "two lines of data": b"event: chunk\ndata: one\ndata: two\n\n",
    "bytes that are no text": b"event: chunk\ndata: \xff\n\n",
}


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_events_are_read_whatever_the_pieces_and_the_line_ends(size: int, line_end: bytes) -> None:
    parser = EventParser()
    data = STREAM.replace(b"\n", line_end) + b": the end\n\n"

    for start in range(0, len(data), size):
        parser.feed(data[start : start + size])
    parser.close()

    assert parser.events == [SentEvent("queued", '{"a":1}'), SentEvent("chunk", '{"t":"ü😀"}', id="1")]
    assert (parser.retry_ms, parser.comments) == (1000, ["heartbeat", "the end"])
    assert parser.raw == data


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_a_stream_is_refused_when(data: bytes) -> None:
    with pytest.raises((EventStreamError, UnicodeDecodeError)):
        _parse(data)


def _parse(data: bytes) -> None:
    parser = EventParser()
    parser.feed(data)
    parser.close()
