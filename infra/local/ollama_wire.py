"""Ollama's wire as a server sees it: what requests hold and how answers are written.

Follows `api/types.go` and `server/routes.go` of Ollama: the order of fields, what is left out when empty, `<`, `>`, `&`
and the two Unicode line separators escaped as Go's encoder does, durations in nanoseconds. Shared by the demo model and
the tests' double of Ollama.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"

_GO_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)
_UNLOADING = (0, "0", "0s")

_encoder = msgspec.json.Encoder()


class Piece(Struct, frozen=True):
    """What a model gives in one step; usually one token in one of the three fields."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[Any] = []

    @property
    def extras(self) -> dict[str, Any]:
        """The fields that are left out when empty."""
        return _without_empty({"thinking": self.thinking, "tool_calls": self.tool_calls})


class Ending(Struct, frozen=True, kw_only=True):
    """The closing fields of an answer; durations in nanoseconds, nothing measured is left out."""

    done_reason: str
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0


class Message(Struct):
    """One message of a chat request."""

    role: str = ""
    content: str | None = None


class ModelCall(Struct, kw_only=True):
    """What all calls that need a loaded model have in common."""

    model: str = ""
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None

    @property
    def unloads(self) -> bool:
        """Whether the model shall leave memory afterwards."""
        return self.keep_alive in _UNLOADING

    @property
    def texts(self) -> list[str]:
        """Everything the model reads, in order."""
        raise NotImplementedError

    @property
    def prompt_tokens(self) -> int:
        """The size of the prompt, a word being a token."""
        return sum(len(text.split()) for text in self.texts)


class GeneratingCall(ModelCall, kw_only=True):
    """A call that is answered token by token."""

    stream: bool | None = None
    tools: list[Any] | None = None
    think: bool | str | None = None
    debug_render_only: bool = msgspec.field(name="_debug_render_only", default=False)

    @property
    def question(self) -> str:
        """What is to be answered."""
        raise NotImplementedError

    @property
    def begun(self) -> str:
        """What stands there as the beginning of the answer."""
        return ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to answer: the call only loads or unloads the model."""
        raise NotImplementedError

    @property
    def max_tokens(self) -> int | None:
        """`num_predict`, None where the answer may be as long as it likes."""
        limit = (self.options or {}).get("num_predict")
        return limit if isinstance(limit, int) and limit > 0 else None

    def line(self, piece: Piece, ending: Ending | None = None) -> bytes:
        """Return one line of the answer, newline included; the last one has an ending."""
        raise NotImplementedError


class ChatCall(GeneratingCall, kw_only=True):
    """Body of `POST /api/chat`."""

    messages: list[Message] | None = None

    @property
    def texts(self) -> list[str]:
        """See `ModelCall.texts`."""
        return [message.content or "" for message in self.messages or ()]

    @property
    def question(self) -> str:
        """The last thing the user said."""
        said = (message.content for message in reversed(self.messages or ()) if message.role == "user")
        return next(said, None) or ""

    @property
    def begun(self) -> str:
        """See `GeneratingCall.begun`: a trailing message of the assistant."""
        last = self.messages[-1] if self.messages else Message()
        return (last.content or "") if last.role == "assistant" else ""

    @property
    def is_empty(self) -> bool:
        """See `GeneratingCall.is_empty`."""
        return not self.messages

    def rendered(self, *, goes_on: bool) -> str:
        """Return the prompt, as a template writes it that leaves a trailing answer open, or does not."""
        texts = [f"<{message.role}>{message.content or ''}" for message in self.messages or ()]
        return "</>".join(texts if goes_on and self.begun else [*texts, "<assistant>"])

    def line(self, piece: Piece, ending: Ending | None = None) -> bytes:
        """See `GeneratingCall.line`."""
        message = {"role": "assistant", "content": piece.content, **piece.extras}
        return encode(
            {
                "model": self.model,
                "created_at": timestamp(),
                "message": message,
                "done": ending is not None,
                **_closing(ending),
            }
        )


class GenerateCall(GeneratingCall, kw_only=True):
    """Body of `POST /api/generate`."""

    prompt: str | None = None
    system: str | None = None

    @property
    def texts(self) -> list[str]:
        """See `ModelCall.texts`."""
        return [text for text in (self.system, self.prompt) if text]

    @property
    def question(self) -> str:
        """The prompt."""
        return self.prompt or ""

    @property
    def is_empty(self) -> bool:
        """See `GeneratingCall.is_empty`."""
        return not self.prompt

    def line(self, piece: Piece, ending: Ending | None = None) -> bytes:
        """See `GeneratingCall.line`."""
        return encode(
            {
                "model": self.model,
                "created_at": timestamp(),
                "response": piece.content,
                **piece.extras,
                "done": ending is not None,
                **_closing(ending),
            }
        )


class EmbedCall(ModelCall, kw_only=True):
    """Body of `POST /api/embed`."""

    input: str | list[str] | None = None
    dimensions: int = 0

    @property
    def texts(self) -> list[str]:
        """The texts to embed."""
        return [self.input] if isinstance(self.input, str) else self.input or []


class ShowCall(Struct):
    """Body of `POST /api/show`; `name` is the older word for `model`."""

    model: str = ""
    name: str = ""


def encode(value: object) -> bytes:
    """Return `value` as one line of JSON as Go writes it, the newline at its end included."""
    line = _encoder.encode(value)
    for plain, escaped in _GO_ESCAPES:
        line = line.replace(plain, escaped)
    return line + b"\n"


def timestamp(time: datetime | None = None) -> str:
    """Return `time`, or now, as Ollama writes it; `time` is in UTC."""
    return (time or datetime.now(UTC)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def full_name(model: str) -> str:
    """Return the model's name with its tag: `demo` is `demo:latest`."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def _closing(ending: Ending | None) -> dict[str, Any]:
    return {} if ending is None else _without_empty(msgspec.structs.asdict(ending))


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
