"""Bounds what a client may hand on to Ollama as it likes: the schema of `format`, `tools`, arguments of calls.

Ollama turns a schema into a grammar by recursion, and renders tools into the prompt.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Meta

MAX_DEPTH = 64  # OpenAI takes 10 levels of a schema, each of which is three of JSON
MAX_BYTES = 256 << 10
FREE_JSON = Meta(description=f"At most {MAX_DEPTH} levels and {MAX_BYTES} bytes.")
"""Says it in the OpenAPI document; `free_json_fault` enforces it."""

_encoder = msgspec.json.Encoder()


def free_json_fault(value: object) -> str | None:
    """Return what is wrong with a value, in words for whoever sent it; None: nothing."""
    if _is_deeper(value, MAX_DEPTH):
        return f"Expected at most {MAX_DEPTH} levels"
    if len(_encoder.encode(value)) > MAX_BYTES:
        return f"Expected at most {MAX_BYTES} bytes"
    return None


def _is_deeper(value: object, levels: int) -> bool:
    """Tell whether lists and objects stand in each other more than so many times."""
    level = [value]
    for _ in range(levels):
        level = [child for container in level for child in _children(container) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _children(container: Any) -> Iterable[object]:  # noqa: ANN401  a list or an object of JSON
    return container.values() if isinstance(container, dict) else container
