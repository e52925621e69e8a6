"""Small images, and ones that only say that they are large."""

import base64
import struct
import zlib


def png(width: int = 1, height: int = 1) -> bytes:
    """Return a PNG; a decoder finds all of it there as long as it has one pixel."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(width: int = 1, height: int = 1, *, before: bytes = b"") -> bytes:
    """Return the segments of a JPEG up to its frame, with others before it."""
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + before + frame


def segment(kind: int, data: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return bytes((0xFF, kind)) + struct.pack(">H", len(data) + 2) + data


def webp(kind: bytes, header: bytes) -> bytes:
    """Return a WebP with one chunk."""
    chunk = kind + struct.pack("<I", len(header)) + header
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def in_base64(image: bytes) -> str:
    """Return an image as chats carry it."""
    return base64.b64encode(image).decode()
