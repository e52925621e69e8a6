"""What `./dev` says before there is any Python of ours."""

import subprocess
from pathlib import Path

import pytest

from tests.environment import CHECKOUT


def dev(*words: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    return subprocess.run([CHECKOUT / "dev", *words], env={"PATH": path}, check=False, capture_output=True, text=True)


def shell_tools(directory: Path) -> Path:
    for tool in ("sh", "dirname"):
        (directory / tool).symlink_to(Path("/bin") / tool)
    return directory


@pytest.mark.parametrize("words", [(), ("help",), ("--help",)], ids=["nothing", "help", "--help"])
def test_help_names_the_commands(words: tuple[str, ...]) -> None:
    result = dev(*words)
    assert result.returncode == 0
    assert {line.split()[1] for line in result.stdout.splitlines()} == {
        "up",
        "test",
        "bench",
        "chaos",
        "token",
        "users",
        "keys",
    }


def test_an_unknown_command_is_told_in_one_line() -> None:
    result = dev("upp")
    assert (result.returncode, result.stderr) == (2, "dev: unknown command: upp. Example: ./dev up\n")


def test_without_python_one_line_names_the_package_to_install(tmp_path: Path) -> None:
    result = dev("up", path=str(shell_tools(tmp_path)))
    assert result.returncode == 2
    assert result.stderr == "dev: needs Python 3.11 or later as python3. Example: apt install python3 python3-venv\n"


def test_a_python_that_is_too_old_is_as_good_as_none(tmp_path: Path) -> None:
    python = shell_tools(tmp_path) / "python3"
    python.write_text("#!/bin/sh\nexit 1\n")  # what the question for 3.11 is answered with by 3.10
    python.chmod(0o755)
    result = dev("up", path=str(tmp_path))
    assert result.returncode == 2
    assert "needs Python 3.11 or later" in result.stderr
