"""A plugin that counts what was checked with each client: `pytestmark = pytest.mark.client("openai", "Python")`."""

import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import pytest

MARK = "client(name, language): the client that the tests use; `language` is Python or JavaScript"

_MODULES = Path(__file__).parent / "javascript" / "node_modules"
_PROPERTY = "client"

Language = Literal["Python", "JavaScript"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", MARK)
    config.pluginmanager.register(_Tally())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write on each test which client it uses."""
    for item in items:
        if mark := item.get_closest_marker("client"):
            item.user_properties.append((_PROPERTY, _label(*mark.args)))


class _Tally:
    """How many checks of each client passed and failed."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test that has run, and one that has failed before or after it ran."""
        client = dict(report.user_properties).get(_PROPERTY)
        if client and (report.when == "call" or report.failed):
            self._counts.setdefault(str(client), Counter())[report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if not self._counts:
            return
        terminalreporter.section("checks with real clients")
        width = max(map(len, self._counts))
        for client, counts in sorted(self._counts.items()):
            terminalreporter.write_line(f"{client:<{width}}  {counts['passed']} passed, {counts['failed']} failed")


def _label(name: str, language: Language | None = None) -> str:
    if language is None:
        return name
    return f"{name} {version(name) if language == 'Python' else _javascript_version(name)} ({language})"


def _javascript_version(name: str) -> str:
    return json.loads((_MODULES / name / "package.json").read_text())["version"]
