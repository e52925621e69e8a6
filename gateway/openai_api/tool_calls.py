"""Turns the tool calls of a model, as Ollama writes them, into OpenAI's: arguments are JSON as text there."""

import re
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from shared.errors import UpstreamError

_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_BEYOND_ASCII = r"\\u(?!00[0-7])[0-9a-fA-F]{4}"
_ESCAPE = re.compile(rf"({_PAIR}|{_BEYOND_ASCII})|\\.")  # the last one, that what it escapes begins no other
_NO_ARGUMENTS = (b"", b"null")


class _Function(Struct, frozen=True):
    name: str
    arguments: Raw = Raw(b"{}")


class _Call(Struct, frozen=True):
    function: _Function
    id: str = ""


_calls = msgspec.json.Decoder(list[_Call])


class CalledFunction(Struct, frozen=True):
    """The function that the model calls."""

    name: str
    arguments: str  # JSON, as the model wrote it


class ToolCall(Struct, frozen=True, kw_only=True):
    """A call of the model's."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


def read_calls(calls: bytes | Raw, *, job_id: str, first: int) -> list[ToolCall]:
    """Return the calls that a job's event brings.

    Args:
        calls: Ollama's JSON of them.
        job_id: Whose they are; a call that the model gave no id has one of the job, so that a replay gives it again.
        first: How many calls the answer had before.

    Raises:
        UpstreamError: They are not what Ollama's calls are.

    """
    try:
        decoded = _calls.decode(calls)
    except msgspec.DecodeError:
        raise UpstreamError("Ollama sent a tool call that is none.") from None
    return [
        ToolCall(
            id=call.id or f"call_{job_id[-12:]}_{index}",
            function=CalledFunction(call.function.name, _as_text(bytes(call.function.arguments))),
        )
        for index, call in enumerate(decoded, first)
    ]


def _as_text(arguments: bytes) -> str:
    """Return arguments as the model wrote them: neither numbers nor the order of names may change."""
    if arguments in _NO_ARGUMENTS:
        return "{}"
    if arguments.startswith(b'"'):  # text already
        return msgspec.json.decode(arguments, type=str)
    return _ESCAPE.sub(_unescape, arguments.decode())


def _unescape(escape: re.Match[str]) -> str:
    """Return the character that an event escapes because it is not ASCII; what JSON has to escape stays."""
    return msgspec.json.decode(f'"{escape[0]}"', type=str) if escape[1] else escape[0]
