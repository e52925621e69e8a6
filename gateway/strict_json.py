"""Reads JSON as I-JSON has it (RFC 7493), because two readers who differ in the rest can be set against each other.

In UTF-8, no name twice in an object, no half of a surrogate pair, no number beyond a double, no NUL, which no database
takes. msgspec keeps the last of two members with one name and says nothing. So what it has read is written again: a
colon stands behind each name, and in strings they stay what they were, so there are fewer when a member went lost.
"""

import re
from typing import Any, NoReturn

from msgspec import DecodeError, ValidationError
from msgspec.json import Decoder, Encoder

from shared.errors import InvalidRequestError, MalformedBodyError

MAX_VALUES = 65_536  # in what is large; 20 MB of `[],[],…` would stop the event loop for 0.6 s
MAX_BYTES_BESIDE_STRINGS = 1 << 20  # the same; 20 MB of numbers with 4,290 digits would take 1 s
MAX_ESCAPES_MENDED = 65_536  # in a body; to look through millions of them would stop the event loop for 3 s
MAX_FAULT_CHARS = 300  # a field name of a megabyte must not come back in the answer

_LARGE_BYTES = 256 << 10  # up to here nothing takes longer than 10 ms
_LONG_BYTES = 1 << 10
_BACKSLASH = ord("\\")
_COLON = re.compile(rb"\s*:")
_NO_CHARACTER = re.compile(
    rb"\\u(?:0000"
    rb"|d[89ab][0-9a-f]{2}(?!\\ud[c-f][0-9a-f]{2})"
    rb"|(?<!\\ud[89ab][0-9a-f]{2}\\u)d[c-f][0-9a-f]{2})",
    re.IGNORECASE,
)
_HALF_AT_THE_END = re.compile(rb'(?<!\\)(?:\\\\)*\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])[^"]*"', re.IGNORECASE)
_TAIL_BYTES = 64  # msgspec takes half a pair within the last 6 for a body that ends early

_decoder = Decoder()
_encoder = Encoder()


def read_json(body: bytes) -> Any:  # noqa: ANN401  any JSON
    """Return what `body` says, as plain values.

    Raises:
        MalformedBodyError: It is not JSON in UTF-8, or nests absurdly.
        InvalidRequestError: It is JSON, but not I-JSON, or has more values than anybody needs.

    """
    is_large = len(body) > _LARGE_BYTES
    spelled = _spelled_out(body) if b"\\u00" in body else body
    outline = _outline(spelled) if is_large else spelled
    try:
        value = _decoder.decode(body)
        kept = _encoder.encode(_decoder.decode(outline) if is_large else value)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse(body, error)
    colons = outline.count(b":")
    if b"\\u00" in spelled:
        if b"\\u0000" in spelled:
            raise InvalidRequestError("Text must not contain the NUL character.")
        colons += outline.count(b"\\u003a") + outline.count(b"\\u003A")
    if kept.count(b":") != colons:
        raise InvalidRequestError("The body has an object in which a name stands twice.")
    return value


def mend_text(body: bytes) -> bytes:
    """Return JSON in which U+FFFD stands for what is no character: half of a surrogate pair, or NUL.

    Clients cut texts, and some of them in the middle of an emoji. OpenAI and Ollama take what is left.
    """
    if not any(escape in body for escape in (b"\\ud", b"\\uD", b"\\u0000")):
        return body
    if body.count(b"\\u") > MAX_ESCAPES_MENDED:
        return body
    return _NO_CHARACTER.sub(rb"\\ufffd", _spelled_out(body))


def _spelled_out(body: bytes) -> bytes:
    """Return the same JSON, in which each backslash begins an escape and each quote a string or its end.

    A regular expression that counts backslashes takes a second for 20 MB.
    """
    return body.replace(b"\\\\", b"\\u005c").replace(b'\\"', b"\\u0022")


def _outline(body: bytes) -> bytes:
    """Return JSON without its long strings, which is small when these are images.

    Raises:
        InvalidRequestError: There is too much beside strings. Found before it is read, since that is what takes long.

    """
    pieces: list[bytes] = []
    values = beside = at = 0
    while (opening := body.find(b'"', at)) >= 0:
        closing = body.find(b'"', opening + 1)
        if closing > 0 and body[closing - 1] == _BACKSLASH:
            return _outline(_spelled_out(body))
        end = closing + 1
        values += 1 + body.count(b",", at, opening)
        beside += opening - at
        if end == 0 or values > MAX_VALUES:
            break
        is_long = end - opening > _LONG_BYTES and not _COLON.match(body, end)
        pieces.append(body[at : opening + 1] + b'"' if is_long else body[at:end])
        at = end
    if values + body.count(b",", at) > MAX_VALUES:
        raise InvalidRequestError(f"The body has more than {MAX_VALUES} values.")
    if beside + len(body) - at > MAX_BYTES_BESIDE_STRINGS:
        raise InvalidRequestError(f"More than {MAX_BYTES_BESIDE_STRINGS} bytes of the body are not in strings.")
    return b"".join((*pieces, body[at:]))


def _refuse(body: bytes, error: Exception) -> NoReturn:
    fault = str(error)
    if isinstance(error, RecursionError):
        raise MalformedBodyError("The body nests too deeply.") from None
    if isinstance(error, UnicodeDecodeError):
        raise MalformedBodyError(f"The body is not UTF-8: {error.reason}.") from None
    if isinstance(error, ValidationError):
        raise InvalidRequestError(f"{fault}.") from None
    if "surrogate pair" in fault or _HALF_AT_THE_END.search(body[-_TAIL_BYTES:]):
        raise InvalidRequestError("Text must not contain half of a surrogate pair.") from None
    raise MalformedBodyError(f"The body is not JSON: {fault[:MAX_FAULT_CHARS]}.") from None
