"""From what Ollama says of a failure to our errors.

Its own text is passed on, because it is the only one that says what was wrong; shortened, in one line, and without
paths of the machine it runs on.
"""

import re
from http import HTTPStatus
from typing import Any

import msgspec

from shared.errors import (
    ContextLengthExceededError,
    DeeperSensorError,
    ModelNotFoundError,
    UpstreamBusyError,
    UpstreamError,
    UpstreamRejectedError,
)

MAX_TEXT = 300  # characters of Ollama's text that are passed on

_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
# Ollama has no code for it, and says it in these ways: "the prompt is longer than the context length currently
# available", "the input length exceeds the context length", "exceeds the available context size".
_CONTEXT_LENGTH = re.compile(r"(exceed|longer than|too (long|large)).*context (length|size|window)", re.IGNORECASE)
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_PATH = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'\"]+[/\\])+[^\s:'\"]*")


def fault_in_status(status: int, body: bytes, *, retry_after: str | None) -> DeeperSensorError:
    """Return the error that an answer with a status other than 200 stands for.

    Args:
        status: The HTTP status.
        body: The body, with Ollama's `error` in it if it comes from Ollama.
        retry_after: The header of this name.

    """
    text = _shown(_error_in(body))
    said = f": {text}" if text else f" with status {status}."
    if status in _BUSY:
        return UpstreamBusyError(f"Ollama is busy{said}", retry_after_s=_seconds(retry_after))
    if _CONTEXT_LENGTH.search(text):
        return ContextLengthExceededError(f"Ollama refused the request{said}")
    if status == HTTPStatus.NOT_FOUND and text:
        return ModelNotFoundError(f"Ollama does not have the model{said}")
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return UpstreamRejectedError(f"Ollama refused the request{said}")
    return UpstreamError(f"Ollama failed{said}")


def fault_in_stream(error: Any) -> UpstreamError:  # noqa: ANN401  whatever stands in the field
    """Return the error that a line with an `error` field stands for, after the answer has begun with status 200."""
    text = _shown(error)
    if _CONTEXT_LENGTH.search(text):
        return ContextLengthExceededError(f"Ollama refused to go on: {text}")
    return UpstreamError(f"Ollama failed: {text}" if text else "Ollama failed.")


def _error_in(body: bytes) -> Any:  # noqa: ANN401  whatever stands in the field
    try:
        value = msgspec.json.decode(body)
    except ValueError:
        return None
    return value.get("error") if isinstance(value, dict) else None


def _shown(error: Any) -> str:  # noqa: ANN401  text, or an object with a `message`, as some proxies have it
    text = error.get("message") if isinstance(error, dict) else error
    if not isinstance(text, str):
        return ""
    text = _PATH.sub("…", _NOT_PRINTABLE.sub(" ", text)).strip()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _seconds(retry_after: str | None) -> float | None:
    try:
        seconds = float(retry_after or "nan")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
