"""What the commands print: readable text, or JSON for programs."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct


def as_json(answer: Struct | Sequence[Struct]) -> str:
    """Return an answer, or a list of them, as a line of JSON."""
    return msgspec.json.encode(answer).decode()


def as_table(rows: Sequence[Struct], columns: Sequence[str]) -> str:
    """Return these fields of each row in columns under their names."""
    lines = [[name.upper() for name in columns], *([_cell(getattr(row, name)) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case list():
            return ",".join(map(str, value))
        case _:
            return str(value)
