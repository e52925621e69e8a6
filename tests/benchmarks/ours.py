"""Starts what is ours, as an operator would: Valkey, PostgreSQL, one gateway, workers, and a user with a token."""

import os
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import httpx

from infra.local.logins import Logins, Passwords
from infra.local.ports import free_port
from infra.local.postgresql import postgresql
from infra.local.program import Program, RunningProgram, start
from infra.local.unprivileged import account_for_servers
from infra.local.valkey import valkey
from tests.benchmarks.answering import http_fault
from tests.benchmarks.targets import MODELS, Target
from tests.databases import migrated

_CHECKOUT = Path(__file__).parents[2]
_SLOTS = 1000
_EMAIL = "bench@example.org"
_AUDIT = '"logger":"audit"'  # is written at whatever level, and complains of nothing
_COMPLAINT_CHARACTERS = 1000


async def started(stack: AsyncExitStack, program: Program) -> RunningProgram:
    """Start `program`, wait until it serves, and have `stack` stop it.

    Raises:
        StartFailedError: It does not come to serve.

    """
    running = await start(program)
    stack.push_async_callback(running.stop)
    await running.until_it_serves()
    return running


@asynccontextmanager
async def our_stack(
    directory: Path,
    *,
    model_port: int,
    workers: int = 1,
    slots: int = _SLOTS,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncGenerator[Target]:
    """Give ourselves, ready to answer for every model, with `workers` workers of `slots` slots and other `settings`.

    Raises:
        StartFailedError: A part does not come to serve.

    """
    async with AsyncExitStack() as stack:
        environment = {**_settings(directory, model_port, slots), **settings}
        redis, redis_logins = await _start_redis(stack, directory)
        database_logins = await _start_postgresql(stack, directory)
        of_gateways = environment | {"REDIS_URL": redis_logins.gateway, "DATABASE_URL": database_logins.gateway}
        of_workers = environment | {"REDIS_URL": redis_logins.worker, "DATABASE_URL": database_logins.worker}
        gateway_port = free_port()
        gateway = await started(stack, _gateway("gateway", directory, of_gateways, gateway_port))
        worker_pids = [
            (await started(stack, _worker(number, directory, of_workers, gateway_port))).pid
            for number in range(1, workers + 1)
        ]
        yield Target(
            name="ours",
            port=gateway_port,
            surface="native",
            token=await _sign_up(gateway_port),
            pids=(redis.pid, gateway.pid, *worker_pids),
            spare=_gateway("spare-gateway", directory, of_gateways, free_port()),
        )


def complaints(directory: Path) -> list[str]:
    """Return the last line of each log in which one of our processes wrote a warning or an error."""
    lines: list[str] = []
    for log in sorted((*directory.glob("*/gateway.log"), *directory.glob("*/worker-*.log"))):
        written = [line for line in log.read_text(errors="replace").splitlines() if _AUDIT not in line]
        if written:
            name = f"{log.parent.name}/{log.stem}"
            lines.append(
                f"{name} wrote {len(written)} lines to its log, the last: {written[-1][-_COMPLAINT_CHARACTERS:]}"
            )
    return lines


def _settings(directory: Path, model_port: int, slots: int) -> dict[str, str]:
    """Return the environment of our processes, as far as it is known before the servers run."""
    directory.mkdir(mode=0o711)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(_CHECKOUT),
        "LOG_LEVEL": "WARNING",
        "LOG_FORMAT": "json",
        "JWT_SECRET": secrets.token_hex(32),
        "JWT_ACCESS_TTL_SECS": "86400",
        "MIGRATE_ON_START": "false",
        "RATE_LIMIT_ENABLED": "false",
        "QUEUE_MAX_DEPTH": "20000",
        "WORKER_SLOTS": str(slots),
        "WORKER_MAX_JOBS": str(slots),
        "OLLAMA_BASE_URL": f"http://127.0.0.1:{model_port}",
    }


async def _start_redis(stack: AsyncExitStack, directory: Path) -> tuple[RunningProgram, Logins]:
    program, logins = valkey(
        directory / "valkey", port=free_port(), passwords=Passwords.new(), log=directory / "valkey.log"
    )
    return await started(stack, program), logins


async def _start_postgresql(stack: AsyncExitStack, directory: Path) -> Logins:
    program, url = await postgresql(
        directory / "postgresql",
        port=free_port(),
        password=secrets.token_hex(16),
        log=directory / "postgresql.log",
        account=account_for_servers(),
    )
    await started(stack, program)
    return await migrated(url)


def _gateway(name: str, directory: Path, environment: Mapping[str, str], port: int) -> Program:
    return Program(
        name=name,
        argv=(sys.executable, "-m", "gateway"),
        environment={**environment, "APP_HOST": "127.0.0.1", "APP_PORT": str(port)},
        directory=directory,
        log=directory / f"{name}.log",
        fault=lambda _: http_fault(port, "/health"),
    )


def _worker(number: int, directory: Path, environment: Mapping[str, str], gateway_port: int) -> Program:
    """A worker serves when the gateway counts it and offers its models."""
    return Program(
        name=f"worker-{number}",
        argv=(sys.executable, "-m", "worker"),
        environment=environment,
        directory=directory,
        log=directory / f"worker-{number}.log",
        fault=lambda _: _offer_fault(gateway_port, workers=number),
    )


async def _offer_fault(gateway_port: int, *, workers: int) -> str | None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway_port}") as client:
        ready = (await client.get("/health/ready")).json()
        models = (await client.get("/v1/models")).json()
    is_complete = ready["live_workers"] >= workers and set(models) >= set(MODELS)
    return None if is_complete else f"the gateway sees {ready['live_workers']} workers and the models {models}"


async def _sign_up(gateway_port: int) -> str:
    account = {"email": _EMAIL, "password": secrets.token_urlsafe(24)}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway_port}") as client:
        (await client.post("/v1/auth/signup", json=account)).raise_for_status()
        answer = (await client.post("/v1/auth/login", json=account)).raise_for_status()
    return answer.json()["access_token"]
