import subprocess
import sys

import pytest

from tests.environment import CHECKOUT


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        pytest.param([], "no role is given", id="no word at all"),
        pytest.param(["gatway"], "there is no role gatway", id="a role that there is not"),
    ],
)
def test_without_a_role_the_roles_are_told_in_one_line(words: list[str], fault: str) -> None:
    start = [sys.executable, "-c", "from shared.command_line import main; main()", *words]
    finished = subprocess.run(start, cwd=CHECKOUT, check=False, capture_output=True, text=True)
    roles = "the roles are gateway, worker, migrate, up, users, keys"
    assert finished.stderr == f"deepersensor: {fault}; {roles}. Example: deepersensor gateway\n"
    assert finished.returncode == 2
