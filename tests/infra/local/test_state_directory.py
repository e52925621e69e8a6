"""One stack at a time has the state directory, and nobody else reads its secrets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.errors import InUseError
from infra.local.state_directory import claim, published_address, published_environment

HOLD_LOCK_AFTER_WE_DIED = """
import os, sys, time
from pathlib import Path
from infra.local.state_directory import claim

with claim(Path(sys.argv[1])) as state:
    if os.fork() == 0:
        time.sleep(0.5)  # what a PostgreSQL takes to end after its supervisor was killed
    os._exit(0)
"""


def test_a_second_claim_is_refused_and_names_who_holds_it(tmp_path: Path) -> None:
    with claim(tmp_path), pytest.raises(InUseError, match=rf"is in use by process {os.getpid()}\."), claim(tmp_path):
        pytest.fail("claimed twice")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to somebody else")
def test_what_belongs_to_another_user_is_left_alone(tmp_path: Path) -> None:
    """As after `sudo ./dev up`: two users in one directory would lock each other out of it."""
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(InUseError, match="belongs to another user"), claim(tmp_path):
        pytest.fail("claimed what is not ours")


def test_a_claim_can_follow_another(tmp_path: Path) -> None:
    with claim(tmp_path):
        pass
    with claim(tmp_path) as state:
        assert state.path == tmp_path


def test_leftovers_of_a_killed_run_are_waited_for(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", HOLD_LOCK_AFTER_WE_DIED, tmp_path], check=True)
    with claim(tmp_path) as state:
        assert state.path == tmp_path


def test_secrets_stay_and_are_ours_alone(tmp_path: Path) -> None:
    with claim(tmp_path / "state") as state:
        secret = state.secret("jwt_secret")
    with claim(tmp_path / "state") as state:
        assert state.secret("jwt_secret") == secret
        assert state.secret("valkey_password") != secret
    assert len(bytes.fromhex(secret)) == 32
    assert (tmp_path / "state" / "jwt_secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o066 == 0


def test_each_run_has_its_own_logs(tmp_path: Path) -> None:
    with claim(tmp_path) as state:
        assert state.log("gateway-1").parent.stat().st_mode & 0o077 == 0
        state.log("gateway-1").write_text("yesterday")
    with claim(tmp_path) as state:
        assert not state.log("gateway-1").exists()


def test_the_address_is_known_while_the_stack_runs(tmp_path: Path) -> None:
    with claim(tmp_path) as state:
        assert published_address(tmp_path) is None
        with state.published("http://127.0.0.1:8000", {"JWT_SECRET": "abc"}):
            assert published_address(tmp_path) == "http://127.0.0.1:8000"
            assert published_environment(tmp_path) == {"JWT_SECRET": "abc"}
            assert (tmp_path / "environment").stat().st_mode & 0o077 == 0
    assert published_address(tmp_path) is None
    assert published_environment(tmp_path) is None
