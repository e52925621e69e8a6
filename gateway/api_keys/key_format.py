"""API keys as their owners hold them: `sk-ds-`, 36 random letters and digits, and six that check all before them.

The form is that of GitHub's tokens (github.blog, 2021-04-05, "Behind GitHub's new authentication token formats"): the
prefix tells whose a leaked key is, the checksum, CRC-32 in base 62, tells a key from a typo without asking anybody.
What is kept of a key are its first characters, for its owner to know it by, and its digest, for us.
"""

import hmac
import re
import secrets
import string
import zlib

PREFIX = "sk-ds-"
RANDOM_CHARS = 36  # 214 bits
SHOWN_CHARS = 4  # of them stand in lists and leave 190 bits to guess
CHECKSUM_CHARS = 6  # 62 ** 6 is more than 2 ** 32

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_CHARS + CHECKSUM_CHARS}}}")


def new_api_key() -> str:
    """Return a key that nobody has yet."""
    unchecked = PREFIX + "".join(secrets.choice(_DIGITS) for _ in range(RANDOM_CHARS))
    return unchecked + _checksum(unchecked)


def is_api_key(text: str) -> bool:
    """Tell whether `text` may be a key of ours: it has the form, and its checksum is right."""
    return _FORM.fullmatch(text) is not None and text[-CHECKSUM_CHARS:] == _checksum(text[:-CHECKSUM_CHARS])


def shown(key: str) -> str:
    """Return the beginning of a key, by which its owner knows it."""
    return key[: len(PREFIX) + SHOWN_CHARS]


def digest(key: str, *, secret: bytes) -> bytes:
    """Return what is stored of a key: the HMAC-SHA256 of it under `API_KEY_SECRET`."""
    return hmac.digest(secret, key.encode(), "sha256")


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(CHECKSUM_CHARS):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
