"""Reads a JSON body as its type: nothing is buffered that will be refused.

On `/v1` what is not JSON in UTF-8 is 400, what is JSON but not what was asked for is 422 and names the field.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from litestar import Request
from msgspec import ValidationError

from gateway.server_settings import ServerSettings
from gateway.strict_json import MAX_FAULT_CHARS, mend_text, read_json
from shared.errors import (
    BodyTooLargeError,
    InvalidRequestError,
    MalformedBodyError,
    RequestTimeoutError,
    UnsupportedMediaTypeError,
)

Body = TypeVar("Body")
AnyRequest = Request[Any, Any, Any]

ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$(?!\n)"
"""The pattern of what people name things: no character that moves a cursor or begins a line."""

_JSON = b"application/json"
_CONTENT_TYPE = re.compile(rb'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_FAULT = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<where>.*)`)?", re.DOTALL)
_PATTERN = re.compile(r"matching regex .*", re.DOTALL)
_FIELD = re.compile(
    r"(?:Object contains unknown|Object missing required|(?P<expected>Expected .*) in) field `(?P<name>.*)`", re.DOTALL
)


class JsonBody(Generic[Body]):
    """Reads the body of one kind of request as `Body`; made once per type.

    Args:
        kind: A Struct, with `forbid_unknown_fields` on `/v1`.
        may_carry_images: Then `MAX_CHAT_REQUEST_SIZE_BYTES` is the limit instead of `MAX_REQUEST_SIZE_BYTES`.
        any_content_type: It is JSON whatever its header says, as Ollama has it.
        mends_text: What is no character in it becomes U+FFFD, as on the surfaces of others; on `/v1` it is refused.
        prepare: Has its plain values as the type wants them, where clients may write them in other ways.

    """

    def __init__(
        self,
        kind: type[Body],
        *,
        may_carry_images: bool = False,
        any_content_type: bool = False,
        mends_text: bool = False,
        prepare: Callable[[Any], Any] | None = None,
    ) -> None:
        self._kind = kind
        self._mends_text = mends_text
        self._prepare = prepare
        self._any_content_type = any_content_type
        self._may_carry_images = may_carry_images

    async def read(self, request: AnyRequest) -> Body:
        """Return the request's body.

        Raises:
            UnsupportedMediaTypeError: It is not declared as JSON, or is compressed.
            BodyTooLargeError: It is, or says that it is, larger than allowed; no more than that is read.
            RequestTimeoutError: It did not arrive in time.
            MalformedBodyError: It is not JSON in UTF-8, or the client left before its end.
            InvalidRequestError: It is JSON, but no I-JSON, or not a valid `Body`.

        """
        server: ServerSettings = request.app.state.settings.server
        max_bytes = server.max_chat_request_size_bytes if self._may_carry_images else server.max_request_size_bytes
        check_headers(request.scope["headers"], max_bytes, any_content_type=self._any_content_type)
        try:
            async with asyncio.timeout(server.server_read_timeout_secs):
                body = await _receive(request, max_bytes)
        except TimeoutError:
            raise RequestTimeoutError(f"The body did not arrive within {server.server_read_timeout_secs} s.") from None
        value = read_json(mend_text(body) if self._mends_text else body)
        return to_kind(self._prepare(value) if self._prepare else value, self._kind)


def to_kind(value: Any, kind: type[Body]) -> Body:  # noqa: ANN401  any JSON
    """Return a body's plain values as the type that was asked for.

    Raises:
        InvalidRequestError: They are not what the type asks for.

    """
    try:
        return msgspec.convert(value, kind)
    except ValidationError as error:
        raise _invalid(str(error)) from None


async def _receive(request: AnyRequest, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise MalformedBodyError("The connection ended before the body did.")
        chunks.append(message["body"])
        size += len(message["body"])
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not message["more_body"]:
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"The body is larger than {max_bytes} bytes.")


def check_headers(headers: Iterable[tuple[bytes, bytes]], max_bytes: int, *, any_content_type: bool) -> None:
    """Accept the headers of a body that can be read.

    Raises:
        UnsupportedMediaTypeError: It is not declared as JSON where that matters, or is compressed.
        BodyTooLargeError: It says that it is larger than `max_bytes`.

    """
    media_types: list[bytes] = []
    encodings: list[bytes] = []
    size = 0
    for name, value in headers:
        if name == b"content-type":
            media_types.append(value)
        elif name == b"content-encoding":
            encodings.append(value)
        elif name == b"content-length":
            size = int(value)  # there is one, of digits only: the server checks that
    if not (any_content_type or media_types == [_JSON] or _are_json(media_types)):
        raise UnsupportedMediaTypeError("The body must be sent as Content-Type: application/json.")
    if encodings not in ([], [b"identity"]):
        raise UnsupportedMediaTypeError("The body must not be compressed.")
    if size > max_bytes:
        raise _too_large(max_bytes)


def _are_json(media_types: Sequence[bytes]) -> bool:
    return len(media_types) == 1 and _CONTENT_TYPE.fullmatch(media_types[0]) is not None


def _invalid(fault: str) -> InvalidRequestError:
    """Return what msgspec says, field and all; of a name of a megabyte the middle is left out before it is searched."""
    if len(fault) > 3 * MAX_FAULT_CHARS:
        fault = f"{fault[:MAX_FAULT_CHARS]}…{fault[-MAX_FAULT_CHARS:]}"
    parts = _FAULT.fullmatch(fault)
    what, where = (parts["what"], parts["where"] or "") if parts else (fault, "")
    if field := _FIELD.fullmatch(what):
        where = f"{where}.{field['name']}" if where else field["name"]
        what = field["expected"] or what
    what = _PATTERN.sub("of the documented form", what)
    return InvalidRequestError(f"{what[:MAX_FAULT_CHARS]}.", param=where[:MAX_FAULT_CHARS] or None)
