"""What Ollama is sent: the bodies of its native API, to which every surface is translated.

Each stands in a job until its worker sends it, byte for byte; what is not said is left to the model's own defaults.
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from gateway.chat.schemas import Options

Format = Literal["json"] | dict[str, Any]
Think = bool | Literal["low", "medium", "high", "max"]


class OllamaChat(Struct, frozen=True, omit_defaults=True):
    """The body of Ollama's `POST /api/chat`."""

    model: str
    messages: Sequence[Struct]
    stream: Literal[True]
    options: Options | None = None
    format: Format | None = None
    tools: Sequence[Struct | dict[str, Any]] | None = None
    think: Think | None = None
    truncate: bool | None = None  # false: a prompt that does not fit the context is an error
    shift: bool | None = None  # false: an answer that does not fit the context is an error


class OllamaGenerate(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The body of Ollama's `POST /api/generate`; an empty prompt loads the model, or with `keep_alive` 0 unloads it."""

    model: str
    prompt: str
    stream: Literal[True]
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    raw: bool | None = None
    context: list[int] | None = None
    images: list[str] | None = None
    options: Options | None = None
    format: Format | None = None
    think: Think | None = None
    truncate: bool | None = None  # false: a prompt that does not fit the context is an error
    shift: bool | None = None  # false: an answer that does not fit the context is an error
    keep_alive: int | None = None  # in seconds; tenants do not steer the GPU, so only 0 of an admin


class OllamaEmbed(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The body of Ollama's `POST /api/embed`."""

    model: str
    input: str | list[str]
    truncate: bool | None = None
    dimensions: int | None = None
    options: Options | None = None


OllamaRequest = OllamaChat | OllamaGenerate | OllamaEmbed
