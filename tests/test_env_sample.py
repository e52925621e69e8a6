"""env.sample names every setting with its default, and nothing else."""

import re
from pathlib import Path

import msgspec
import pytest
from msgspec import NODEFAULT, Struct

from gateway.accounts.settings import AccountSettings
from gateway.admission.settings import QueueSettings, RateLimitSettings
from gateway.cross_origin import CrossOriginSettings
from gateway.metrics.settings import MetricsSettings
from gateway.server_settings import ServerSettings
from migrations.settings import RoleSettings
from shared.settings import AppSettings, DatabaseSettings, RedisSettings, StreamSettings
from worker.settings import OllamaSettings, WorkerSettings

GROUPS: tuple[type[Struct], ...] = (
    AppSettings,
    ServerSettings,
    CrossOriginSettings,
    AccountSettings,
    RateLimitSettings,
    QueueSettings,
    StreamSettings,
    MetricsSettings,
    RedisSettings,
    DatabaseSettings,
    RoleSettings,
    WorkerSettings,
    OllamaSettings,
)
SUPERVISOR = {"UP_GATEWAYS": "1", "UP_WORKERS": "1", "STATE_DIR": ".state"}  # read by ./dev up alone

LINE = re.compile(r"# (?P<variable>[A-Z_]+)=(?P<value>.*)")


def sample() -> dict[str, str]:
    text = (Path(__file__).parents[1] / "env.sample").read_text("utf-8")
    return {match["variable"]: match["value"] for match in map(LINE.fullmatch, text.splitlines()) if match}


def as_text(default: object) -> str:
    match default:
        case None:
            return ""
        case bool():
            return str(default).lower()
        case _:
            return str(default)


def test_every_setting_stands_there_with_its_default() -> None:
    defaults = {
        field.name.upper(): "" if field.default is NODEFAULT else as_text(field.default)
        for group in GROUPS
        for field in msgspec.structs.fields(group)
    }
    assert sample() == defaults | SUPERVISOR


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_every_setting_says_what_it_is(group: type[Struct]) -> None:
    schema = msgspec.json.schema(group)["$defs"][group.__name__]["properties"]
    assert [name for name, field in schema.items() if not (field.get("description") and field.get("examples"))] == []
