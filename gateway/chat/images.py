"""Judges the images of a chat before a GPU host has to: base64 of a PNG, JPEG or WebP of bearable size.

Those three are what Ollama documents; the decoders behind it know a dozen more formats, and what hardly anybody sends
is where their bugs are. Of an image nothing is decoded but its head: 20 MB would stop the event loop for 60 ms.
"""

import binascii
from collections.abc import Callable

MAX_PIXELS = 100_000_000  # 400 MB when unpacked; a PNG of 100 kB can have 30,000 times 30,000

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDINGS = (b"", b"=", b"==")
_HEAD_BYTES = 30  # up to the size in a PNG or WebP; none is smaller as a whole
_MOST_SEGMENTS = 1_000  # of a JPEG before its size; editors leave some dozens

Read = Callable[[int, int], bytes]
"""Returns so many bytes of an image from an offset, fewer at its end."""


def image_fault(image: str) -> str | None:
    """Return what is wrong with an image, in words for whoever sent it; None: nothing."""
    try:
        text = image.encode("ascii")
    except UnicodeEncodeError:
        return "Expected base64"
    rest = text.translate(None, _ALPHABET)
    if len(text) % 4 or rest not in _PADDINGS or not text.endswith(rest):
        return "Expected base64 alone: no line breaks, no address, no `data:`"

    def read(at: int, size: int) -> bytes:
        quartet = at // 3
        decoded = binascii.a2b_base64(text[4 * quartet : 4 * (quartet + size // 3 + 2)])
        return decoded[at % 3 :][:size]

    size = _size(read)
    if size is None or 0 in size:
        return "Expected a PNG, JPEG or WebP image"
    width, height = size
    return f"Expected at most {MAX_PIXELS} pixels" if width * height > MAX_PIXELS else None


def _size(read: Read) -> tuple[int, int] | None:
    """Return width and height of an image in pixels; None: it is no image that is known here."""
    head = read(0, _HEAD_BYTES)
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR" and len(head) == _HEAD_BYTES:
        return _big(head[16:20]), _big(head[20:24])
    if head.startswith(b"\xff\xd8\xff"):
        return _size_of_jpeg(read)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP" and len(head) == _HEAD_BYTES:
        return _size_of_webp(head)
    return None


def _size_of_jpeg(read: Read) -> tuple[int, int] | None:
    """Go from segment to segment (ITU T.81, B.1) to the one that begins the frame."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        segment = read(at, 9)
        if len(segment) < 4 or segment[0] != 0xFF:  # noqa: PLR2004
            return None
        if segment[1] == 0xFF:  # noqa: PLR2004  fill
            at += 1
        elif 0xC0 <= segment[1] <= 0xCF and segment[1] not in (0xC4, 0xC8, 0xCC):  # noqa: PLR2004
            return _big(segment[7:9]), _big(segment[5:7])
        else:
            at += 2 + _big(segment[2:4])
    return None


def _size_of_webp(head: bytes) -> tuple[int, int] | None:
    """Read the header of the first chunk (RFC 9649): extended, lossless or lossy."""
    match head[12:16]:
        case b"VP8X":
            return 1 + _little(head[24:27]), 1 + _little(head[27:30])
        case b"VP8L":
            bits = _little(head[21:25])
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF
        case _:
            return None


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
