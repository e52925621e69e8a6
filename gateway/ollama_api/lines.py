"""Writes a job's answer as Ollama does: a line of JSON for each piece, or one object for all of it.

The text of a piece is put into its line as the worker wrote it, in ASCII: of a piece nothing is decoded but where its
parts stand, and nothing in it looks like the end of a line to any client.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw, Struct

from gateway.error_dialects import write_ollama_error
from gateway.ollama_api.times import NS_PER_MS, CreatedAt
from shared.clock import Clock
from shared.events import ErrorBody, Event, EventKind, Timings, Usage
from shared.transcripts import transcribe

_NOTHING = Raw(b"")  # msgspec knows no `Raw | None`


class Form(Struct, frozen=True):
    """What stands around the text in a line."""

    before: bytes
    after: bytes


CHAT = Form(b'"message":{"role":"assistant","content":', b"}")
GENERATE = Form(b'"response":', b"")


class _Piece(Struct, frozen=True):
    """What of a chunk goes into every line."""

    content: Raw
    thinking: Raw = _NOTHING
    tool_calls: Raw = _NOTHING


class _Closing(Struct, frozen=True):
    """What of the last chunk goes into the last line."""

    usage: Usage
    timings: Timings
    done_reason: str = ""


class _Ending(Struct, frozen=True, omit_defaults=True):
    """What Ollama says at the end; durations in nanoseconds."""

    done_reason: str = ""  # empty: it did not say
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


_CHUNK = EventKind.CHUNK.value
_DONE = EventKind.DONE.value
_ERROR = EventKind.ERROR.value
_GOES_ON = b',"done":false}\n'
_SILENCE = _Piece(Raw(b'""'))

_pieces = msgspec.json.Decoder(_Piece)
_closings = msgspec.json.Decoder(_Closing)
_errors = msgspec.json.Decoder(ErrorBody)
_encoder = msgspec.json.Encoder()


class AnswerLines:
    """Writes one answer.

    Args:
        form: Of its lines.
        model: As the client has named it.
        clock: Tells when a line is written.

    """

    def __init__(self, form: Form, *, model: str, clock: Clock) -> None:
        self._created_at = CreatedAt(clock)
        self._head = b'{"model":%b,"created_at":"' % _encoder.encode(model)
        self._before = b'",' + form.before
        self._after = form.after

    def write(self, events: Iterable[Event]) -> bytes:
        """Return the lines for a batch that `first_word` gives; one without text where it brings no piece."""
        return b"".join(map(self._line, events)) or self._join(_SILENCE, _GOES_ON)

    def write_whole(self, events: Sequence[Event]) -> bytes:
        """Return the answer that these events make up as one object."""
        transcript = transcribe(events)
        piece = _Piece(
            Raw(_encoder.encode(transcript.content)),
            Raw(_encoder.encode(transcript.thinking)) if transcript.thinking else _NOTHING,
            Raw(_encoder.encode(transcript.tool_calls)) if transcript.tool_calls else _NOTHING,
        )
        return self._join(piece, _ending(events[-1].payload))

    def write_unloaded(self) -> bytes:
        """Return what Ollama says when it has let go of a model."""
        return self._join(_SILENCE, _close(_Ending(done_reason="unload")))

    def _line(self, event: Event) -> bytes:
        _, kind, payload = event
        if kind == _CHUNK:
            return self._join(_pieces.decode(payload), _GOES_ON)
        if kind == _DONE:
            return self._join(_pieces.decode(payload), _ending(payload))
        if kind == _ERROR:
            return write_ollama_error(_errors.decode(payload).error) + b"\n"
        return b""

    def _join(self, piece: _Piece, ending: bytes) -> bytes:
        content, thinking, tool_calls = piece.content, piece.thinking, piece.tool_calls
        further = b""
        if thinking:
            further = b',"thinking":' + bytes(thinking)
        if tool_calls:
            further += b',"tool_calls":' + bytes(tool_calls)
        return b"".join((self._head, self._created_at.now(), self._before, content, further, self._after, ending))


def _ending(payload: bytes) -> bytes:
    """Return how the last line ends, by the last chunk."""
    closing = _closings.decode(payload)
    usage, timings = closing.usage, closing.timings
    return _close(
        _Ending(
            done_reason=closing.done_reason,
            total_duration=timings.total_ms * NS_PER_MS,
            load_duration=timings.load_ms * NS_PER_MS,
            prompt_eval_count=usage.prompt_tokens,
            prompt_eval_duration=round(timings.prompt_eval_ms * NS_PER_MS),
            eval_count=usage.completion_tokens,
            eval_duration=round(timings.eval_ms * NS_PER_MS),
        )
    )


def _close(ending: _Ending) -> bytes:
    return b',"done":true,' + _encoder.encode(ending)[1:] + b"\n"
