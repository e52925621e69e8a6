"""requirements-floors.lock has the lowest versions that pyproject.toml allows; CONTRIBUTING.md says how it is tried."""

import re
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def test_the_lock_of_floors_has_the_floors() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    floors = dict(re.split(r"(?:\[.*\])?[>=]=", each) for each in project["dependencies"])
    locked = dict(re.findall(r"^([\w-]+)==([\w.]+)", (CHECKOUT / "requirements-floors.lock").read_text(), re.MULTILINE))
    # The lowest release there is of `>=5.3` may be 5.3.1.
    wrong = {name: (floor, locked.get(name)) for name, floor in floors.items() if not starts(locked.get(name), floor)}
    assert wrong == {}


def starts(version: str | None, floor: str) -> bool:
    return version is not None and f"{version}.".startswith(f"{floor}.")
