"""A job's answer put together from its events: what the client would have who read them all."""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, Raw, Struct

from shared.events import Chunk, ErrorBody, ErrorDetail, Event, EventKind, Resumed, Timings, Usage, encode_payload


class Transcript(Struct, frozen=True, omit_defaults=True):
    """What a job has answered so far, or in all."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[Raw] = []
    done_reason: str | None = None  # None: it has not answered to the end
    usage: Usage | None = None
    timings: Timings | None = None
    error: ErrorDetail | None = None  # None: it has not ended with one


class _Closing(Struct, frozen=True):
    """What of a last event is not in every chunk; of any kind of job."""

    done_reason: str | None = None
    usage: Usage | None = None
    timings: Timings | None = None


_chunks = msgspec.json.Decoder(Chunk)
_closings = msgspec.json.Decoder(_Closing)
_errors = msgspec.json.Decoder(ErrorBody)
_resumptions = msgspec.json.Decoder(Resumed)
_tool_calls = msgspec.json.Decoder(list[Raw])
_transcripts = msgspec.json.Decoder(Transcript)


class Transcriber:
    """Takes a job's events in order, in any portions."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._tool_calls: list[Raw] = []
        self._closing = _Closing()
        self._error: ErrorDetail | None = None

    def take(self, events: Iterable[Event]) -> None:
        """Take more events."""
        for _, kind, payload in events:
            match kind:
                case EventKind.CHUNK.value:
                    self._add(_chunks.decode(payload))
                case EventKind.DONE.value:
                    self._closing = _closings.decode(payload)
                    if b'"embeddings"' not in payload:
                        self._add(_chunks.decode(payload))
                case EventKind.RESUMED.value if _resumptions.decode(payload).mode == "restarted":
                    self._content, self._thinking, self._tool_calls = [], [], []
                case EventKind.ERROR.value:
                    self._error = _errors.decode(payload).error
                case _:
                    pass

    def transcript(self) -> Transcript:
        """Return what there is of the answer."""
        return Transcript(
            content="".join(self._content),
            thinking="".join(self._thinking),
            tool_calls=self._tool_calls,
            done_reason=self._closing.done_reason,
            usage=self._closing.usage,
            timings=self._closing.timings,
            error=self._error,
        )

    def _add(self, chunk: Chunk) -> None:
        self._content.append(chunk.content)
        if chunk.thinking is not UNSET:
            self._thinking.append(chunk.thinking)
        if chunk.tool_calls is not UNSET:
            self._tool_calls += _tool_calls.decode(chunk.tool_calls)


def transcribe(events: Iterable[Event]) -> Transcript:
    """Return the transcript of these events."""
    transcriber = Transcriber()
    transcriber.take(events)
    return transcriber.transcript()


def encode_transcript(transcript: Transcript) -> str:
    """Return a transcript as it is stored: ASCII JSON, in which no character can offend PostgreSQL."""
    return encode_payload(transcript).decode("ascii")


def decode_transcript(text: str) -> Transcript:
    """Return what `encode_transcript` wrote."""
    return _transcripts.decode(text)
