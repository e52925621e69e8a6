"""What of the tests' own environment the processes that they start get."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]

_INHERITED_VARIABLES = ("PATH", "HOME", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


def inherited_variables() -> dict[str, str]:
    """Return what of the tests' own environment a process of the product gets."""
    inherited = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
    return {**inherited, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}
