r"""The events of a job, as they stand in the token log and travel to readers.

An event is a kind, which is one byte, and a payload, which is one line of ASCII JSON. ASCII because tokens may hold
U+0085, U+2028 and the like, at which some clients split lines; escaped they pass every client unharmed. An entry of
the log is one or more events joined by newlines, each as kind byte + payload.
"""

import re
from enum import Enum
from json.encoder import encode_basestring_ascii
from typing import Literal, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from shared.errors import DeeperSensorError


class EventKind(bytes, Enum):
    """What an event says; the value is the byte that stands for it in the log."""

    STARTED = b"s"  # a worker took the job
    RESUMED = b"r"  # another worker took over a job of whose answer a part had been sent
    CHUNK = b"c"  # a piece of the answer
    DONE = b"d"  # the last piece, with reason, usage and timings; terminal
    ERROR = b"e"  # the job ended without a whole answer; terminal
    QUEUED = b"q"  # the place in the queue; made by gateways, never in the log
    HEARTBEAT = b":"  # nothing happened for a while; made by gateways, never in the log


TERMINAL_KINDS = frozenset({EventKind.DONE.value, EventKind.ERROR.value})


class Event(NamedTuple):
    """One event on its way to a reader."""

    seq: int  # 1, 2, 3 … over all attempts, further on after a loss of Redis; 0: a notice, not in the log
    kind: bytes  # an EventKind's value
    payload: bytes  # one line of ASCII JSON


class Queued(Struct, frozen=True):
    """A job's place in its model's queue."""

    job_id: str
    stream_url: str  # reads the job's stream without any other credential
    position: int  # 1-based, in the fair order: it may rise
    ahead: int  # position - 1
    estimated_wait_ms: int


class Started(Struct, frozen=True):
    """A worker took the job."""

    job_id: str
    worker: str
    attempt: int  # 1 + the attempts that failed


class Resumed(Struct, frozen=True):
    """Another worker took over in the middle of the answer."""

    attempt: int  # as in Started
    mode: Literal["continued", "restarted"]  # the text goes on, or the text so far is to be dropped


class Usage(Struct, frozen=True):
    """Tokens, as Ollama counted them."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool | UnsetType = UNSET  # true: a part was counted by us, because another worker took over


class Timings(Struct, frozen=True):
    """Where the time went, in milliseconds."""

    queue_ms: int  # admission to the first claim
    load_ms: int  # loading the model, as Ollama says
    first_token_ms: int  # first claim to first piece of the answer that the client keeps
    total_ms: int  # admission to end
    prompt_eval_ms: float = 0.0  # reading the prompt, as Ollama says; in steps of a microsecond
    eval_ms: float = 0.0  # answering, as Ollama says


class Chunk(Struct, frozen=True, omit_defaults=True):
    """A piece of the answer; the last one has `done` true and the closing fields."""

    model: str
    content: str
    done: bool
    thinking: str | UnsetType = UNSET
    tool_calls: msgspec.Raw | UnsetType = UNSET
    done_reason: str | UnsetType = UNSET
    usage: Usage | UnsetType = UNSET
    timings: Timings | UnsetType = UNSET
    job_id: str | UnsetType = UNSET


class Embedded(Struct, frozen=True):
    """The whole answer of an `embed` job."""

    model: str
    embeddings: msgspec.Raw  # one array of numbers per input
    done: bool
    usage: Usage
    timings: Timings
    job_id: str


class ErrorDetail(Struct, frozen=True):
    """The error shape of the contract."""

    code: str
    type: str
    message: str
    param: str | None
    request_id: str


class ErrorBody(Struct, frozen=True):
    """The error shape of the contract, in the object that carries it."""

    error: ErrorDetail


def describe(error: DeeperSensorError, *, request_id: str) -> ErrorDetail:
    """Return what is told of an error, in a response or in an `error` event."""
    return ErrorDetail(
        code=error.code, type=error.type, message=error.message, param=error.param, request_id=request_id
    )


_encoder = msgspec.json.Encoder()
_not_ascii = re.compile(r"[^\x00-\x7f]+")


def encode_payload(payload: Struct) -> bytes:
    """Return `payload` as one line of ASCII JSON.

    The typed encoder cannot escape, so what is not ASCII is escaped in its text; that can only stand inside strings.
    Decoding and encoding anew would take four times as long, and round the numbers in the arguments of tool calls.
    """
    line = _encoder.encode(payload)
    return line if line.isascii() else _not_ascii.sub(_escape, line.decode()).encode("ascii")


def _escape(found: re.Match[str]) -> str:
    return encode_basestring_ascii(found[0])[1:-1]
