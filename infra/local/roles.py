"""The product's own processes as programs of the stack."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from infra.local.backends import Backends
from infra.local.dead_worker import release_jobs
from infra.local.probes import http_fault, worker_fault
from infra.local.program import Fault, Program, no_burial, no_fault
from infra.local.settings import StackSettings
from infra.local.state_directory import StateDirectory

_DAY_SECS = 86_400
_NO_SECRETS = {"JWT_SECRET": "", "API_KEY_SECRET": ""}  # the gateways' own  # nosec B105
_STOP_MARGIN_S = 5  # beyond draining
_ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  nobody listens on them here  # nosec B104


@dataclass(frozen=True)
class Roles:
    """Makes programs of gateways, workers and migrations, each of which logs in as itself."""

    settings: StackSettings
    state: StateDirectory
    backends: Backends
    environment: Mapping[str, str] = field(repr=False)
    """What all of them are told."""

    def migrations(self) -> Program:
        """Return what brings the schema up to date, lets the others work with it, and ends."""
        database = self.backends.database
        told = {
            "DATABASE_URL": database.operator,
            "GATEWAY_DATABASE_URL": database.gateway,
            "WORKER_DATABASE_URL": database.worker,
        }
        return self._program("migrations", told, name="migrations")

    def workers(self) -> list[Program]:
        """Return as many workers as the settings ask for."""
        return [self._worker(number) for number in range(1, self.settings.up_workers + 1)]

    def gateways(self) -> list[Program]:
        """Return as many gateways as the settings ask for, each on its own port."""
        return [self._gateway(number, port) for number, port in enumerate(gateway_ports(self.settings), start=1)]

    def _worker(self, number: int) -> Program:
        redis = self.backends.redis
        return self._program(
            "worker",
            {"DATABASE_URL": self.backends.database.worker, "REDIS_URL": redis.worker, **_NO_SECRETS},
            name=f"worker-{number}",
            fault=lambda pid: worker_fault(redis.operator, pid),
            bury=lambda pid: release_jobs(redis.operator, pid),
            stop_timeout_s=self.settings.worker_drain_secs + _STOP_MARGIN_S,
        )

    def _gateway(self, number: int, port: int) -> Program:
        health = gateway_address(self.settings, port) + "/health"
        return self._program(
            "gateway",
            {
                "DATABASE_URL": self.backends.database.gateway,
                "REDIS_URL": self.backends.redis.gateway,
                "APP_PORT": str(port),
            },
            name=f"gateway-{number}",
            fault=lambda _: http_fault(health),
            stop_timeout_s=self.settings.gateway_drain_secs + _STOP_MARGIN_S,
        )

    def _program(
        self,
        module: str,
        told: Mapping[str, str],
        *,
        name: str,
        fault: Fault = no_fault,
        bury: Callable[[int], Awaitable[None]] = no_burial,
        stop_timeout_s: float = 10,
    ) -> Program:
        return Program(
            name=name,
            argv=(sys.executable, "-m", module),
            environment={**self.environment, **told},
            log=self.state.log(name),
            fault=fault,
            bury=bury,
            stop_timeout_s=stop_timeout_s,
        )


def role_environment(
    surroundings: Mapping[str, str], settings: StackSettings, state: StateDirectory, backends: Backends
) -> dict[str, str]:
    """Return what all of them are told: the developer's environment, and what this stack decides for everybody."""
    given = {name: value for name, value in surroundings.items() if value != ""}
    return {
        "JWT_ACCESS_TTL_SECS": str(_DAY_SECS),  # the token that is printed is good for a day
        "JWT_SECRET": state.secret("jwt_secret"),
        "API_KEY_SECRET": state.secret("api_key_secret"),
        **given,
        "APP_HOST": settings.app_host,
        "OLLAMA_BASE_URL": backends.ollama_base_url,
        "GATEWAY_DRAIN_SECS": str(settings.gateway_drain_secs),
        "WORKER_DRAIN_SECS": str(settings.worker_drain_secs),
        "MIGRATE_ON_START": "false",  # done once, before anything starts
    }


def gateway_ports(settings: StackSettings) -> range:
    """Return the ports of the gateways."""
    return range(settings.app_port, settings.app_port + settings.up_gateways)


def gateway_address(settings: StackSettings, port: int) -> str:
    """Return the URL under which this machine reaches the gateway on `port`."""
    host = _ALL_ADDRESSES.get(settings.app_host, settings.app_host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
