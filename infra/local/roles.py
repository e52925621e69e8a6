"""The product's own processes as programs of the stack."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from infra.local.backends import Backends
from infra.local.dead_worker import release_jobs
from infra.local.probes import http_fault, worker_fault
from infra.local.program import Fault, Program, no_burial, no_fault
from infra.local.settings import StackSettings
from infra.local.state_directory import StateDirectory

_DAY_SECS = 86_400
_STOP_MARGIN_S = 5  # beyond draining
_ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  nobody listens on them here


@dataclass(frozen=True)
class Roles:
    """Makes programs of gateways, workers and migrations that share one environment."""

    settings: StackSettings
    state: StateDirectory
    environment: Mapping[str, str]
    """What all of them are told."""

    def migrations(self) -> Program:
        """Return what brings the schema up to date and ends."""
        return self._program("migrations", name="migrations")

    def workers(self) -> list[Program]:
        """Return as many workers as the settings ask for."""
        return [self._worker(number) for number in range(1, self.settings.up_workers + 1)]

    def gateways(self) -> list[Program]:
        """Return as many gateways as the settings ask for, each on its own port."""
        return [self._gateway(number, port) for number, port in enumerate(gateway_ports(self.settings), start=1)]

    def _worker(self, number: int) -> Program:
        return self._program(
            "worker",
            name=f"worker-{number}",
            fault=lambda pid: worker_fault(self.environment["REDIS_URL"], pid),
            bury=lambda pid: release_jobs(self.environment["REDIS_URL"], pid),
            stop_timeout_s=self.settings.worker_drain_secs + _STOP_MARGIN_S,
        )

    def _gateway(self, number: int, port: int) -> Program:
        health = gateway_address(self.settings, port) + "/health"
        gateway = self._program(
            "gateway",
            name=f"gateway-{number}",
            fault=lambda _: http_fault(health),
            stop_timeout_s=self.settings.gateway_drain_secs + _STOP_MARGIN_S,
        )
        return replace(gateway, environment={**gateway.environment, "APP_PORT": str(port)})

    def _program(
        self,
        module: str,
        *,
        name: str,
        fault: Fault = no_fault,
        bury: Callable[[int], Awaitable[None]] = no_burial,
        stop_timeout_s: float = 10,
    ) -> Program:
        return Program(
            name=name,
            argv=(sys.executable, "-m", module),
            environment=self.environment,
            log=self.state.log(name),
            fault=fault,
            bury=bury,
            stop_timeout_s=stop_timeout_s,
        )


def role_environment(
    surroundings: Mapping[str, str], settings: StackSettings, state: StateDirectory, backends: Backends
) -> dict[str, str]:
    """Return what gateways and workers are told: the developer's environment, and where this stack has everything."""
    given = {name: value for name, value in surroundings.items() if value != ""}
    return {
        "JWT_ACCESS_TTL_SECS": str(_DAY_SECS),  # the token that is printed is good for a day
        "JWT_SECRET": state.secret("jwt_secret"),
        **given,
        "APP_HOST": settings.app_host,
        "DATABASE_URL": backends.database_url,
        "REDIS_URL": backends.redis_url,
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
