"""Streams in OpenAI's form: a job's events as server-sent events without a type, one JSON object each.

The payload of an event is ASCII JSON already, so the text of a piece is put, as it stands, between what is the same in
all frames of the stream. News of the queue and heartbeats are comments, because clients take every event for a piece.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from gateway.error_responses import describe
from gateway.openai_api.answers import FINGERPRINT, chat_id, created_s, finish_reason, text_id, usage_of
from gateway.openai_api.tool_calls import ToolCall, read_calls
from shared.errors import UpstreamError
from shared.events import Event, EventKind, Usage, encode_payload

_CHUNK = EventKind.CHUNK.value
_END = b"data: [DONE]\n\n"
_NOTHING = len(b'""')


class _Piece(Struct, frozen=True):
    content: Raw
    thinking: Raw | UnsetType = UNSET
    tool_calls: Raw | UnsetType = UNSET
    done_reason: str | None = None
    usage: Usage | None = None


class _Heading(Struct, frozen=True, kw_only=True):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    choices: Sequence[None] = ()


_encoder = msgspec.json.Encoder()
_pieces = msgspec.json.Decoder(_Piece)


class AnswerStream(ABC):
    """Writes one answer's events as frames.

    `has_ended`: the last frame is written, `[DONE]` or an error; nothing may follow.

    Args:
        heading: What every frame begins with.
        before: What stands in a choice before the text of a piece.
        after: What stands behind it.
        includes_usage: Whether the client wants the usage, in a frame of its own.

    """

    def __init__(self, heading: _Heading, *, before: bytes, after: bytes, includes_usage: bool) -> None:
        self.has_ended = False
        self._includes_usage = includes_usage
        self._open = b"data: " + _encoder.encode(heading).removesuffix(b"]}")
        self._close = b'],"usage":null}\n\n' if includes_usage else b"]}\n\n"
        self._before = self._open + before
        self._after = after + self._close
        self._has_begun = False

    def frames(self, events: Iterable[Event]) -> bytes:
        """Return the frames of some more events, the next ones in order."""
        frames: list[bytes] = []
        try:
            for _, kind, payload in events:
                if kind == _CHUNK:
                    frames.append(self._piece(_pieces.decode(payload)))
                else:
                    frames.append(self._besides_pieces(kind, payload))
        except UpstreamError as error:
            frames.append(self._fail(encode_payload(describe(error))))
        return b"".join(frames)

    def _fail(self, payload: bytes) -> bytes:
        self.has_ended = True
        return b"data: %b\n\n" % payload

    def _besides_pieces(self, kind: bytes, payload: bytes) -> bytes:
        match kind:
            case EventKind.DONE.value:
                return self._done(_pieces.decode(payload))
            case EventKind.ERROR.value:
                return self._fail(payload)
            case EventKind.QUEUED.value:
                return b": queued %b\n\n" % payload
            case EventKind.HEARTBEAT.value:
                return b": heartbeat\n\n"
            case _:
                return b""

    def _piece(self, piece: _Piece) -> bytes:
        if self._has_begun and piece.thinking is UNSET and piece.tool_calls is UNSET:
            return self._text(piece)
        frames = self._thinking(piece) + self._text(piece) + self._tool_calls(piece)
        if self._has_begun or not frames:
            return frames
        self._has_begun = True
        return self._beginning() + frames

    def _text(self, piece: _Piece) -> bytes:
        if len(piece.content) == _NOTHING:
            return b""
        return b"".join((self._before, piece.content, self._after))

    def _done(self, last: _Piece) -> bytes:
        self.has_ended = True
        frames = [self._piece(last)]
        if not self._has_begun:
            frames.append(self._beginning())
        frames.append(self._choice(self._finish(last.done_reason)))
        if self._includes_usage:
            frames.append(b'%b],"usage":%b}\n\n' % (self._open, _encoder.encode(usage_of(last.usage))))
        return b"".join((*frames, _END))

    def _choice(self, choice: bytes) -> bytes:
        return b"".join((self._open, choice, self._close))

    def _beginning(self) -> bytes:
        """Return what comes before the first piece."""
        return b""

    def _thinking(self, piece: _Piece) -> bytes:  # noqa: ARG002
        """Return the frame of what the model thinks, nothing where it does not or the form has no place for it."""
        return b""

    def _tool_calls(self, piece: _Piece) -> bytes:  # noqa: ARG002
        """Return the frames of the calls in a piece, nothing where there are none or the form has no place for them.

        Raises:
            UpstreamError: They are no calls.

        """
        return b""

    @abstractmethod
    def _finish(self, done_reason: str | None) -> bytes:
        """Return the choice that says why the answer has ended."""


class ChatStream(AnswerStream):
    """Writes an answer in a chat; the arguments are those of `chat_completion` and `AnswerStream`."""

    def __init__(self, *, job_id: str, model: str, includes_usage: bool) -> None:
        super().__init__(
            _Heading(id=chat_id(job_id), object="chat.completion.chunk", created=created_s(job_id), model=model),
            before=b'{"index":0,"delta":{"content":',
            after=b'},"logprobs":null,"finish_reason":null}',
            includes_usage=includes_usage,
        )
        self._job_id = job_id
        self._calls = 0  # that the answer had so far

    def _beginning(self) -> bytes:
        return self._delta(b'{"role":"assistant","content":""}')

    def _thinking(self, piece: _Piece) -> bytes:
        if piece.thinking is UNSET:
            return b""
        return self._delta(b'{"reasoning":%b}' % bytes(piece.thinking))

    def _tool_calls(self, piece: _Piece) -> bytes:
        if piece.tool_calls is UNSET:
            return b""
        first = self._calls
        calls = read_calls(piece.tool_calls, job_id=self._job_id, first=first)
        self._calls += len(calls)
        return b"".join(self._call(index, call) for index, call in enumerate(calls, first))

    def _call(self, index: int, call: ToolCall) -> bytes:
        return self._delta(b'{"tool_calls":[{"index":%d,%b]}' % (index, encode_payload(call)[1:]))

    def _finish(self, done_reason: str | None) -> bytes:
        reason = finish_reason(done_reason, calls_tools=self._calls > 0).encode()
        return b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"%b"}' % reason

    def _delta(self, delta: bytes) -> bytes:
        return self._choice(b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":null}' % delta)


class TextStream(AnswerStream):
    """Writes the completion of a prompt, in which there is but text; the arguments are those of `ChatStream`."""

    def __init__(self, *, job_id: str, model: str, includes_usage: bool) -> None:
        super().__init__(
            _Heading(id=text_id(job_id), object="text_completion", created=created_s(job_id), model=model),
            before=b'{"text":',
            after=b',"index":0,"logprobs":null,"finish_reason":null}',
            includes_usage=includes_usage,
        )

    def _thinking(self, piece: _Piece) -> bytes:
        """Return a comment: the form has no place for thoughts, and a line that is silent for long is cut."""
        return b"" if piece.thinking is UNSET else b": thinking\n\n"

    def _finish(self, done_reason: str | None) -> bytes:
        reason = finish_reason(done_reason, calls_tools=False).encode()
        return b'{"text":"","index":0,"logprobs":null,"finish_reason":"%b"}' % reason
