"""No group of settings shows its secrets, and every setting that is one says so."""

import re

import msgspec
import pytest
from msgspec import Struct

from infra.local.logins import Logins, Passwords
from infra.local.settings import StackSettings
from migrations.roles import roles_of
from migrations.settings import RoleSettings
from shared.secret import HIDDEN, Secret
from shared.settings import is_secret, load
from tests.test_env_sample import GROUPS

CANARY = "c4n4ry-" * 5
VALUES = {"redis_url": f"redis://u:{CANARY}@h/0"} | dict.fromkeys(
    ("database_url", "gateway_database_url", "worker_database_url"), f"postgresql://u:{CANARY}@h/d"
)
LOOKS_SECRET = re.compile(r"secret|password$|token$|_key$|(redis|database)_url$")


@pytest.mark.parametrize("group", [*GROUPS, StackSettings], ids=lambda group: group.__name__)
def test_a_setting_that_looks_like_a_secret_is_marked_and_hidden(group: type[Struct]) -> None:
    fields = msgspec.structs.fields(group)
    marked = [field.name for field in fields if is_secret(field.type)]
    assert marked == [field.name for field in fields if LOOKS_SECRET.search(field.name)]
    settings = load(group, {name.upper(): VALUES.get(name, CANARY) for name in marked})
    assert all(CANARY in getattr(settings, name) for name in marked)
    assert CANARY not in f"{settings} {settings!r} {[settings]}"
    assert all(f"{name}={HIDDEN}" in repr(settings) for name in marked)


def test_what_the_local_stack_hands_around_shows_no_password() -> None:
    passwords = Passwords.new()
    logins = Logins.named(f"postgresql://owner:{passwords.operator}@h/d", passwords)
    roles = roles_of(RoleSettings(gateway_database_url=logins.gateway))
    assert roles[0].password == passwords.gateway
    shown = f"{passwords!r} {logins!r} {roles!r}"
    assert not any(text in shown for text in (passwords.operator, passwords.gateway, passwords.worker))


def test_a_secret_is_the_text_that_it_is() -> None:
    secret = Secret("abc")
    assert (secret, f"{secret}", secret.encode(), hash(secret)) == ("abc", "abc", b"abc", hash("abc"))
    assert repr([secret]) == f"[{HIDDEN}]"
