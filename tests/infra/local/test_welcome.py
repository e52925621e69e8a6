import pytest

from infra.local import welcome
from infra.local.backends import Backends
from infra.local.logins import Logins
from infra.local.settings import StackSettings

BACKENDS = Backends(Logins.shared("postgresql://h/d"), Logins.shared("redis://h"), "http://h", "demo model")


@pytest.mark.parametrize(
    ("enabled", "times"), [pytest.param(True, 1, id="served"), pytest.param(False, 0, id="not served")]
)
def test_the_document_of_all_calls_is_named_when_it_is_served(enabled: bool, times: int) -> None:  # noqa: FBT001
    text = welcome.text(StackSettings(schema_enabled=enabled), BACKENDS, token=None, model=None, took_s=1.0)
    assert text.count("/schema/openapi.json") == times


def test_who_has_a_client_is_told_its_address() -> None:
    text = welcome.text(StackSettings(app_port=8100), BACKENDS, token=None, model=None, took_s=1.0)
    assert "http://127.0.0.1:8100/openai/v1  for OpenAI's clients, http://127.0.0.1:8100/ollama for Ollama's" in text
