import pytest

from infra.local import welcome
from infra.local.backends import Backends
from infra.local.logins import Logins
from infra.local.settings import StackSettings


@pytest.mark.parametrize(
    ("enabled", "times"), [pytest.param(True, 1, id="served"), pytest.param(False, 0, id="not served")]
)
def test_the_document_of_all_calls_is_named_when_it_is_served(enabled: bool, times: int) -> None:  # noqa: FBT001
    backends = Backends(Logins.shared("postgresql://h/d"), Logins.shared("redis://h"), "http://h", "demo model")
    text = welcome.text(StackSettings(schema_enabled=enabled), backends, token=None, model=None, took_s=1.0)
    assert text.count("/schema/openapi.json") == times
