"""What is measured: the model directly, nginx in front of it, and us; and how to ask each of them for an answer."""

from typing import Literal, get_args

import msgspec
from msgspec import Struct

from infra.local.program import Program

UNPACED = "bench:unpaced"
PACED = "bench:paced"
SLOW = "bench:slow"
PACE = 50
"""Tokens per second of a stream of `PACED`."""
SLOW_PACE = 1
"""The same of `SLOW`."""
MODELS = {UNPACED: 0, PACED: PACE, SLOW: SLOW_PACE}
"""Tokens per second and stream by model; 0 is as fast as they are taken."""

Surface = Literal["native", "openai", "ollama"]
"""What of ours is asked; all of it runs through the same queue."""
SURFACES: tuple[Surface, ...] = get_args(Surface)

_MARK = "#0000000000"  # load.c writes the request's number over the digits
_MESSAGES = [{"role": "user", "content": f"{_MARK} What is the time?"}]


class Request(Struct, frozen=True):
    """One kind of request, as load.c sends it."""

    path: str
    format: Literal["ndjson", "sse", "openai", "array"]
    body: str
    tokens: int


class Target(Struct, frozen=True, kw_only=True):
    """Something that answers chats."""

    name: str
    port: int
    surface: Surface | None = None
    """Which of ours it is asked by; None: it is not ours, and speaks Ollama's API."""
    token: str | None = None
    """The bearer token that it asks for."""
    pids: tuple[int, ...] = ()
    """The processes between client and model; those they have started belong to them."""
    spare: Program | None = None
    """Another one of its front processes, not started; tells how long a start takes and what it weighs."""

    def streamed(self, model: str, tokens: int) -> Request:
        """Return the request for an answer of `tokens` tokens, sent as they come."""
        match self.surface:
            case "native":
                return Request("/v1/chat/stream", "sse", _body(model, tokens), tokens)
            case "openai":
                return Request("/openai/v1/chat/completions", "openai", _openai_body(model, tokens), tokens)
            case "ollama":
                return Request("/ollama/api/chat", "ndjson", _body(model, tokens, stream=True), tokens)
            case None:
                return Request("/api/chat", "ndjson", _body(model, tokens, stream=True), tokens)

    def whole(self, model: str, tokens: int) -> Request:
        """Return the request for an answer of `tokens` tokens in one piece; ours is asked by the native surface."""
        if self.surface is not None:
            return Request("/v1/chat", "array", _body(model, tokens), tokens)
        return Request("/api/chat", "ndjson", _body(model, tokens, stream=False), tokens)


def _body(model: str, tokens: int, **more: bool) -> str:
    return _encoded({"model": model, "messages": _MESSAGES, "options": {"num_predict": tokens}, **more})


def _openai_body(model: str, tokens: int) -> str:
    return _encoded({"model": model, "messages": _MESSAGES, "max_tokens": tokens, "stream": True})


def _encoded(body: object) -> str:
    return msgspec.json.encode(body).decode()
