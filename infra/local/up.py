"""`./dev up`: the whole product on one machine, until Ctrl-C."""

import asyncio
import signal
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway import settings as gateway_settings
from infra.local import welcome
from infra.local.backends import start_backends
from infra.local.demo_account import fresh_token, kept_account
from infra.local.errors import NoTokenError
from infra.local.model_list import first_model
from infra.local.ports import free_port, listen_fault
from infra.local.program import run
from infra.local.roles import Roles, gateway_address, gateway_ports, role_environment
from infra.local.settings import StackSettings
from infra.local.state_directory import ACCOUNT, StateDirectory, claim
from infra.local.supervisor import Supervisor
from infra.local.together import together
from shared.settings import SettingsError
from worker import settings as worker_settings

_HIGHEST_PORT = 65_535
_LIKE_OURS = "0" * 64  # as strong as the JWT_SECRET that the state directory would give

Say = Callable[[str], None]


async def up(settings: StackSettings, surroundings: Mapping[str, str], say: Say) -> None:
    """Start everything, say how to use it, and keep it running until SIGINT, SIGTERM or SIGHUP cancels this task.

    Raises:
        SettingsError: A setting names something that is not there, or a port that is taken.
        LocalStackError: Something did not come up. Nothing is left running.

    """
    began_s = time.monotonic()
    _check_roles(settings, surroundings)
    _check_ports(settings)
    supervisor = Supervisor(say)
    longest_s = max(settings.gateway_drain_secs, settings.worker_drain_secs)
    stopping = _signals_stop(asyncio.current_task(), supervisor, say, longest_s=longest_s)
    with claim(Path(settings.state_dir)) as state, stopping:
        async with supervisor:
            roles = await _start_all(settings, surroundings, state, supervisor, say)
            address = gateway_address(settings, settings.app_port)
            with state.published(address, roles.gateways()[0].environment):
                token = await _token(address, state, say)
                model = await first_model(address, roles.backends.redis.operator, token)
                say(welcome.text(settings, roles.backends, token, model, time.monotonic() - began_s))
                await asyncio.Event().wait()


async def _start_all(
    settings: StackSettings, surroundings: Mapping[str, str], state: StateDirectory, supervisor: Supervisor, say: Say
) -> Roles:
    say("starting PostgreSQL, Valkey and the models")
    backends = await start_backends(settings, state, surroundings, supervisor)
    roles = Roles(settings, state, backends, role_environment(surroundings, settings, state, backends))
    say(f"starting migrations, {settings.up_workers} x worker and {settings.up_gateways} x gateway")
    # At once, because importing is most of it: neither role asks PostgreSQL for anything until a request comes.
    await together(run(roles.migrations()), supervisor.start(*roles.workers(), *roles.gateways()))
    return roles


def _check_roles(settings: StackSettings, surroundings: Mapping[str, str]) -> None:
    """Read what gateways and workers will be told, before the servers under them take their time to start."""
    told = {"JWT_SECRET": _LIKE_OURS, **{name: value for name, value in surroundings.items() if value != ""}}
    gateway, _ = gateway_settings.read(told), worker_settings.read(told)
    if gateway.metrics.own_address and settings.up_gateways > 1:
        raise SettingsError(
            f"PROMETHEUS_BIND={gateway.metrics.prometheus_bind}: {settings.up_gateways} gateways cannot share it, "
            "and without it each has /metrics on its own port. Example: PROMETHEUS_BIND= ./dev up --gateways 2"
        )


def _check_ports(settings: StackSettings) -> None:
    """Look before anything starts: a port that is taken must not leave half a stack."""
    if fault := listen_fault(settings.app_host, 0):
        raise SettingsError(f"APP_HOST={settings.app_host}: cannot listen there, {fault}. Example: APP_HOST=127.0.0.1")
    for port in gateway_ports(settings):
        fault = "beyond the last port" if port > _HIGHEST_PORT else listen_fault(settings.app_host, port)
        if fault:
            example = f"APP_PORT={free_port()} ./dev up"
            raise SettingsError(f"APP_PORT={settings.app_port}: cannot listen on {port}, {fault}. Example: {example}")


@contextmanager
def _signals_stop(
    task: asyncio.Task[None] | None, supervisor: Supervisor, say: Say, *, longest_s: int
) -> Generator[None]:
    """Let the first signal cancel `task`, and a further one end all programs without waiting for them."""

    def receive() -> None:
        if task is None or task.cancelling():
            supervisor.kill()
        else:
            say(f"stopping; answers under way get up to {longest_s} s to end, Ctrl-C again does not wait for them")
            task.cancel()

    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which is how nohup asks to be left alone
        signals.append(signal.SIGHUP)
    loop = asyncio.get_running_loop()
    for number in signals:
        loop.add_signal_handler(number, receive)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _token(address: str, state: StateDirectory, say: Say) -> str | None:
    try:
        return await fresh_token(address, kept_account(state.path / ACCOUNT))
    except NoTokenError as error:
        say(f"no access token: {error}")
        return None
