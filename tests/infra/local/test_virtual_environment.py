"""`.venv` holds what the lock files name, however this machine can install."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.environment import CHECKOUT

BASE_PYTHON = Path(sys.base_prefix) / "bin" / "python3"  # the one of .venv may have no pip
NEITHER_PIP_NOR_ENSUREPIP = "import sys; sys.modules['pip'] = sys.modules['ensurepip'] = None"

METADATA = "Metadata-Version: 2.1\nName: parcel\nVersion: {version}\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


class Checkout:
    """A directory with lock files that name one small package."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "infra" / "local").mkdir(parents=True)
        (path / "infra" / "local" / "requirements.lock").touch()
        (path / "requirements-dev.lock").touch()
        (path / "tests" / "clients").mkdir(parents=True)

    def lock(self, version: str, *, digest: str | None = None, name: str = "requirements.lock") -> None:
        wheel = self.path / f"parcel-{version}-py3-none-any.whl"
        information = f"parcel-{version}.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("parcel.py", f"VERSION = {version!r}\n")
            archive.writestr(f"{information}/METADATA", METADATA.format(version=version))
            archive.writestr(f"{information}/WHEEL", WHEEL)
            archive.writestr(f"{information}/RECORD", "")
        digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
        (self.path / name).write_text(f"parcel @ {wheel.as_uri()} --hash=sha256:{digest}\n")

    def install(
        self, path: str = os.defpath, customs: str = "", *, purpose: str = "up"
    ) -> subprocess.CompletedProcess[str]:
        """Run the program with `path` as PATH, after the Python statements `customs`."""
        (self.path / "sitecustomize.py").write_text(customs)
        return subprocess.run(
            [BASE_PYTHON, "-m", "infra.local.virtual_environment", purpose],
            cwd=self.path,
            env={"PATH": path, "PYTHONPATH": f"{self.path}:{CHECKOUT}", "HOME": str(self.path)},
            check=False,
            capture_output=True,
            text=True,
        )

    def installed_version(self, venv: str = ".venv") -> str:
        command = [self.path / venv / "bin" / "python", "-c", "import parcel; print(parcel.VERSION)"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    checkout = Checkout(tmp_path)
    checkout.lock("1.0")
    return checkout


def test_pip_installs(checkout: Checkout) -> None:
    result = checkout.install()
    assert result.returncode == 0, result.stderr
    assert "installing packages with pip" in result.stdout
    assert checkout.installed_version() == "1.0"


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed here")
def test_uv_installs_where_there_is_one(checkout: Checkout) -> None:
    result = checkout.install(os.environ["PATH"])
    assert result.returncode == 0, result.stderr
    assert "installing packages with uv" in result.stdout
    assert checkout.installed_version() == "1.0"


def test_what_is_installed_is_not_installed_again_until_a_lock_changes(checkout: Checkout) -> None:
    checkout.install()
    assert checkout.install().stdout == ""
    checkout.lock("2.0")
    assert "installing" in checkout.install().stdout
    assert checkout.installed_version() == "2.0"


def test_clients_have_an_environment_of_their_own(checkout: Checkout) -> None:
    checkout.install()
    checkout.lock("0.9", name="tests/clients/requirements.lock")
    assert "making .venv-clients" in checkout.install(purpose="clients").stdout
    assert checkout.installed_version(".venv-clients") == "0.9"
    assert checkout.installed_version() == "1.0"
    assert checkout.install().stdout == checkout.install(purpose="clients").stdout == ""


def test_a_package_that_is_not_the_locked_one_is_refused(checkout: Checkout) -> None:
    checkout.lock("1.0", digest="0" * 64)
    for _ in range(2):  # a failure is not taken for done
        result = checkout.install()
        assert result.returncode == 1
        assert "Expected sha256 0000" in result.stderr
        assert result.stderr.endswith("dev: installing packages with pip failed; the reason stands above\n")


def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Checkout) -> None:
    checkout.install()
    python = checkout.path / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python")
    assert "making .venv" in checkout.install().stdout
    assert checkout.installed_version() == "1.0"


def test_without_pip_and_ensurepip_one_line_names_the_package_to_install(checkout: Checkout) -> None:
    result = checkout.install(customs=NEITHER_PIP_NOR_ENSUREPIP)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "apt install python3-venv" in result.stderr
