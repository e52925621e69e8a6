"""Finds or starts what gateways and workers stand on: PostgreSQL, Redis and a server of models."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from infra.local.logins import Logins, Passwords
from infra.local.ports import free_port
from infra.local.postgresql import create_database, postgresql
from infra.local.probes import http_fault, postgresql_fault, redis_fault
from infra.local.program import Program
from infra.local.settings import StackSettings
from infra.local.state_directory import StateDirectory
from infra.local.supervisor import Supervisor
from infra.local.unprivileged import account_for_servers
from infra.local.valkey import valkey
from shared.settings import SettingsError

_DATABASE = "deepersensor"
_DATABASE_EXAMPLE = "DATABASE_URL=postgresql://deepersensor:secret@127.0.0.1:5432/deepersensor"
_REDIS_EXAMPLE = "REDIS_URL=redis://127.0.0.1:6379/0"
_OLLAMA_EXAMPLE = "OLLAMA_BASE_URL=http://127.0.0.1:11434"


@dataclass(frozen=True)
class Backends:
    """Where they are."""

    database: Logins
    redis: Logins
    ollama_base_url: str
    models: str
    """Who serves the models, in words; `demo` when they are not real."""


async def start_backends(
    settings: StackSettings, state: StateDirectory, surroundings: Mapping[str, str], supervisor: Supervisor
) -> Backends:
    """Return where everything is, once it serves; what the settings do not name is started.

    Raises:
        SettingsError: Something that the settings name does not let us in.
        LocalStackError: Something of ours did not come up.

    """
    postgresql_server, server_url = await _postgresql(settings, state)
    valkey_server, redis = await _valkey(settings, state)
    demo_model, ollama_base_url, models = await _models(settings, state, surroundings)
    await supervisor.start(*postgresql_server, *valkey_server, *demo_model)
    database = Logins.shared(server_url)
    if postgresql_server:
        owner_url = await create_database(server_url, _DATABASE)
        database = Logins.named(owner_url, _passwords(state, "postgresql"), prefix=f"{_DATABASE}_")
    return Backends(database, redis, ollama_base_url, models)


def _passwords(state: StateDirectory, server: str) -> Passwords:
    return Passwords(
        operator=state.secret(f"{server}_password"),
        gateway=state.secret(f"{server}_gateway_password"),
        worker=state.secret(f"{server}_worker_password"),
    )


async def _postgresql(settings: StackSettings, state: StateDirectory) -> tuple[list[Program], str]:
    if not settings.database_url:
        server, url = await postgresql(
            state.path / "postgresql",
            port=free_port(),
            password=_passwords(state, "postgresql").operator,
            log=state.log("postgresql"),
            account=account_for_servers(),
        )
        return [replace(server, inherited=(state.lock,))], url
    if fault := await postgresql_fault(settings.database_url):
        raise SettingsError(
            f"DATABASE_URL names no PostgreSQL that lets us in: {fault}. "
            f"Leave it unset to start one. Example: {_DATABASE_EXAMPLE}"
        )
    return [], settings.database_url


async def _valkey(settings: StackSettings, state: StateDirectory) -> tuple[list[Program], Logins]:
    if not settings.redis_url:
        server, logins = valkey(
            state.path / "valkey",
            port=free_port(),
            passwords=_passwords(state, "valkey"),
            log=state.log("valkey"),
        )
        return [replace(server, inherited=(state.lock,))], logins
    if fault := await redis_fault(settings.redis_url):
        raise SettingsError(
            f"REDIS_URL names no Redis that lets us in: {fault}. Leave it unset to start one. Example: {_REDIS_EXAMPLE}"
        )
    return [], Logins.shared(settings.redis_url)


async def _models(
    settings: StackSettings, state: StateDirectory, surroundings: Mapping[str, str]
) -> tuple[list[Program], str, str]:
    ollama = settings.ollama_base_url.rstrip("/")
    fault = await http_fault(f"{ollama}/api/version")
    if fault is None:
        return [], ollama, f"Ollama at {ollama}"
    if settings.app_env == "production":
        raise SettingsError(
            f"OLLAMA_BASE_URL names no Ollama: {fault}. "
            f"The demo model is not for APP_ENV=production. Example: {_OLLAMA_EXAMPLE}"
        )
    port = free_port()
    demo = f"http://127.0.0.1:{port}"
    program = Program(
        name="demo-model",
        argv=(sys.executable, "-m", "infra.local.demo_model", "--host", "127.0.0.1", "--port", str(port)),
        environment=surroundings,
        log=state.log("demo-model"),
        fault=lambda _: http_fault(f"{demo}/api/version"),
        inherited=(state.lock,),
    )
    return [program], demo, f"demo model, because no Ollama answers at {ollama}"
