"""Only images that a GPU host can be given: what they are is seen from their first bytes."""

import struct

import pytest

from gateway.chat.images import MAX_PIXELS, image_fault
from tests.images import in_base64, jpeg, png, segment, webp

LARGE = 30_000


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(png(), id="a PNG"),
        pytest.param(png(10_000, 10_000), id="as many pixels as may be"),
        pytest.param(jpeg(), id="a JPEG"),
        pytest.param(jpeg(before=segment(0xE1, b"\xff\xc0" * 30_000) * 5), id="a JPEG with much before it"),
        pytest.param(jpeg(before=b"\xff\xff"), id="a JPEG with fill bytes"),
        pytest.param(webp(b"VP8X", b"\0" * 4 + b"\x01\0\0" * 2), id="an extended WebP"),
        pytest.param(webp(b"VP8L", b"\x2f" + struct.pack("<I", 1 | 1 << 14) + b"\0" * 5), id="a lossless WebP"),
        pytest.param(webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 2, 2)), id="a lossy WebP"),
    ],
)
def test_images_that_ollama_documents_are_taken(image: bytes) -> None:
    assert image_fault(in_base64(image)) is None


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="a PNG's first line"),
        pytest.param(png()[:20], id="a PNG without a height"),
        pytest.param(png(0, 1), id="a PNG without width"),
        pytest.param(b"\xff\xd8\xff", id="a JPEG's first bytes"),
        pytest.param(b"\xff\xd8" + segment(0xDA, b"x") * 2_000, id="a JPEG without a frame"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x00" * 10, id="a JPEG with a segment of no length"),
        pytest.param(webp(b"VP8?", b"\0" * 20), id="a WebP of another kind"),
        pytest.param(webp(b"VP8X", b"\0"), id="a WebP that ends early"),
        pytest.param(b"GIF89a\1\0\1\0\0\0\0;", id="a GIF"),
        pytest.param(b"BM" + b"\0" * 60, id="a bitmap"),
        pytest.param(b"8BPS\0\1" + b"\0" * 60, id="a drawing of Photoshop"),
        pytest.param(b"P6 1 1 255\n\0\0\0", id="a portable pixmap"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
        pytest.param(b"%PDF-1.7", id="a PDF"),
        pytest.param(b"\x7fELF" + b"\0" * 60, id="a program"),
    ],
)
def test_nothing_else_is(image: bytes) -> None:
    assert image_fault(in_base64(image)) == "Expected a PNG, JPEG or WebP image"


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(png(LARGE, LARGE), id="a PNG"),
        pytest.param(png(MAX_PIXELS + 1, 1), id="a long line"),
        pytest.param(jpeg(LARGE, LARGE, before=segment(0xE1, b"x" * 60_000)), id="a JPEG"),
        pytest.param(webp(b"VP8X", b"\0" * 4 + b"\xff\xff\xff" * 2), id="a WebP"),
    ],
)
def test_few_bytes_do_not_become_many_pixels(image: bytes) -> None:
    assert image_fault(in_base64(image)) == f"Expected at most {MAX_PIXELS} pixels"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("canary", id="a word"),
        pytest.param(in_base64(png()).rstrip("=") + "=" * 3, id="too much padding"),
        pytest.param(in_base64(png(2, 1)) + "A", id="one character more"),
        pytest.param("=" + in_base64(png())[1:], id="padding in front"),
        pytest.param(in_base64(png()).replace("/", "_").replace("+", "-").replace("A", "-"), id="the alphabet of URLs"),
        pytest.param(f"{in_base64(png())[:40]}\n{in_base64(png())[40:]}", id="lines"),
        pytest.param(f"data:image/png;base64,{in_base64(png())}", id="a data URL"),
        pytest.param("http://169.254.169.254/latest/meta-data/", id="an address"),
        pytest.param("file:///etc/passwd", id="a file"),
        pytest.param("iVBORw0KGgoé===", id="no ASCII"),
        pytest.param("\ufeff" + in_base64(png()), id="a byte order mark"),
    ],
)
def test_base64_is_all_that_an_image_can_be(text: str) -> None:
    assert (image_fault(text) or "").startswith("Expected base64")
