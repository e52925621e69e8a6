"""What the audit log writes, seen from outside."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from shared.audit import SecurityEvent

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def written(program: str, *, log_level: str) -> list[dict[str, Any]]:
    """Run `program` with logging configured and return the lines of its standard error."""
    prelude = f"""
        from shared import audit, log
        from shared.audit import SecurityEvent
        from shared.settings import AppSettings
        log.configure(AppSettings(log_level="{log_level}"), role="gateway")
    """
    script = textwrap.dedent(prelude) + textwrap.dedent(program)
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return [json.loads(line) for line in finished.stderr.splitlines()]


@pytest.mark.parametrize("log_level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_it_writes_at_every_log_level(log_level: str) -> None:
    [line] = written("audit.record(SecurityEvent.SIGNED_UP, user_id='u-1')", log_level=log_level)
    del line["ts"]
    assert line == {
        "level": "INFO",
        "logger": "audit",
        "event": "signed_up",
        "role": "gateway",
        "outcome": "done",
        "user_id": "u-1",
    }


def test_what_is_bound_stands_in_its_lines_too() -> None:
    [line] = written(
        """
        with log.bound(request_id="r-1", client_address="192.0.2.7"):
            audit.record(SecurityEvent.LOGIN_FAILED, credential="session:s-1", reason="expired")
        """,
        log_level="INFO",
    )
    told = {name: line.get(name) for name in ("request_id", "client_address", "credential", "reason", "outcome")}
    assert told == {
        "request_id": "r-1",
        "client_address": "192.0.2.7",
        "credential": "session:s-1",
        "reason": "expired",
        "outcome": "refused",
    }
    assert "user_id" not in line


def test_the_documentation_lists_every_event_and_no_other() -> None:
    section = OPERATIONS.read_text().partition("### Security events")[2].partition("\n##")[0]
    documented = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert documented == list(SecurityEvent)
