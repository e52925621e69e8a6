"""Keeps secrets in files that only we may read."""

from pathlib import Path


def write_secret(file: Path, text: str) -> None:
    """Write `text` whole or not at all, into a file that only we may read."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.rename(file)
