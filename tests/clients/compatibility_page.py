"""Reads `docs/compatibility.md`: under each heading a table, whose rows begin with a name and what becomes of it."""

import re
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
_HEADING = re.compile(r"^#+ (.*)$")
_ROW = re.compile(r"^\| (?P<name>(?:\w+ )?`[^|]+`) \| (?P<status>\w+) \|")

ROUTES = ("OpenAI", "Ollama")  # the headings under which paths are listed


def tables() -> dict[str, dict[str, str]]:
    """Return the status of each row, by heading and name; headings and names without their backticks, but for roles."""
    found: dict[str, dict[str, str]] = {}
    heading = ""
    for line in _PAGE.read_text().splitlines():
        if match := _HEADING.match(line):
            heading = match[1].replace("`", "")
        elif match := _ROW.match(line):
            name = match["name"]
            rows = found.setdefault(heading, {})
            assert name not in rows, f"{name} stands there twice"
            rows[name.strip("`") if name.startswith("`") else name] = match["status"]
    return found
