"""How errors are written: in the contract's shape, and on the surfaces of others as their clients know them.

Below `/openai` a request that is wrong is 400, whatever is wrong with it: that is OpenAI's status, for which its
clients have `BadRequestError`. Below `/ollama` it is 400 as well, and the body is Ollama's: `{"error": "message"}`.
"""

from collections.abc import Callable
from http import HTTPStatus

import msgspec
from msgspec import Struct

from shared.events import ErrorBody, ErrorDetail, encode_payload

OPENAI, OLLAMA = "/openai", "/ollama"


class OllamaErrorBody(Struct, frozen=True):
    """An error as Ollama tells it."""

    error: str


class Dialect(Struct, frozen=True):
    """How a surface tells of errors."""

    kind: type[Struct]  # of the body
    write: Callable[[ErrorDetail], bytes]
    invalid_status: int  # of what is well-formed and wrong
    says_whether_to_retry: bool = False  # in `x-should-retry`, which OpenAI's SDKs obey before their own rules
    has_openai_limits: bool = False  # tells of limits in `x-ratelimit-*` as well
    nothing_here: str = "There is nothing at this path."

    def status(self, status: int) -> int:
        """Return the status with which the surface answers what the contract gives this one."""
        return self.invalid_status if status == HTTPStatus.UNPROCESSABLE_ENTITY else status


def write_ollama_error(detail: ErrorDetail) -> bytes:
    """Return an error as Ollama's clients read it: a message alone, which has to say what field it is about."""
    param, message = detail.param, detail.message
    says_it = param is None or param.lower() in message.lower()
    return encode_payload(OllamaErrorBody(message if says_it else f"{param}: {message}"))


def _write_error(detail: ErrorDetail) -> bytes:
    return msgspec.json.encode(ErrorBody(detail))


_NATIVE = Dialect(kind=ErrorBody, write=_write_error, invalid_status=HTTPStatus.UNPROCESSABLE_ENTITY)
_OPENAIS_CALLS = ("/completions", "/embeddings", "/responses")
_OPENAI = Dialect(
    kind=ErrorBody,
    write=_write_error,
    invalid_status=HTTPStatus.BAD_REQUEST,
    says_whether_to_retry=True,
    has_openai_limits=True,
    nothing_here="There is nothing at this path. Models are asked at /openai/v1/chat/completions, also instead of"
    " `responses`; beside it there are completions, embeddings and models.",
)
_OLLAMA = Dialect(kind=OllamaErrorBody, write=write_ollama_error, invalid_status=HTTPStatus.BAD_REQUEST)


def dialect_of(path: str) -> Dialect:
    """Return how errors are told of a request for `path`."""
    if path.startswith(f"{OPENAI}/"):
        return _OPENAI
    if path == OLLAMA or path.startswith(f"{OLLAMA}/"):
        return _OLLAMA
    return _NATIVE


def elsewhere(path: str) -> str:
    """Return where a client is answered that was given the address of the gateway as if it were OpenAI or Ollama."""
    if path.startswith(f"{OPENAI}/"):
        return ""
    if path.endswith(_OPENAIS_CALLS):
        return f" OpenAI's clients are answered below {OPENAI}/v1: let that be their base_url."
    if path.startswith("/api/"):
        return f" Ollama's clients are answered below {OLLAMA}: let that be their host."
    return ""
