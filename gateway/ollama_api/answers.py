"""What Ollama's API answers, for the OpenAPI document; lines.py writes it."""

from typing import Any, Literal

from msgspec import Struct

from shared.clock import Timestamp


class _Metrics(Struct, frozen=True, kw_only=True):
    model: str  # as the request names it
    created_at: Timestamp  # when the line was written
    done: bool  # true in the last line alone
    done_reason: str | None = None  # in the last line, and so is the rest; durations in nanoseconds
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


class OllamaAnswerMessage(Struct, frozen=True, kw_only=True):
    """A piece of the answer, or all of it."""

    role: Literal["assistant"]
    content: str
    thinking: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class OllamaChatAnswer(_Metrics, frozen=True, kw_only=True):
    """A line of the answer to a chat."""

    message: OllamaAnswerMessage


class OllamaGenerateAnswer(_Metrics, frozen=True, kw_only=True):
    """A line of the answer to a prompt."""

    response: str
    thinking: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
