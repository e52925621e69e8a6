"""Ids are UUIDv7 in lower case: they sort by creation and give nothing away but that time (RFC 9562, 5.7)."""

import re

import uuid_utils

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """Return a new UUIDv7 in its 36-character lower-case form."""
    return str(uuid_utils.uuid7())


def is_id(text: str) -> bool:
    """Tell whether `text` is a lower-case UUID and so may become part of a key or a query."""
    return _UUID.fullmatch(text) is not None


def created_ms(id_: str) -> int:
    """Return when a UUIDv7 was made, in milliseconds since 1970: its first 48 bits."""
    return int(id_[:8] + id_[9:13], 16)
