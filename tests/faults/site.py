"""The whole product as processes that can be lost and started again, with a fault proxy on each line between two."""

import asyncio
import secrets
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from signal import Signals
from typing import Self

import asyncpg
import httpx
import msgspec
import pytest
from redis.asyncio import Redis

from infra.local.logins import Logins, Passwords
from infra.local.ports import free_port
from infra.local.program import Program, RunningProgram, start
from infra.local.valkey import valkey
from shared.redis_client import connect
from shared.redis_keys import DELAYED, RUNNING, WAITING
from tests.databases import migrated
from tests.faults.proxy import FaultProxy
from tests.faults.storyteller import Storyteller
from tests.processes import ProcessStarter, ServerProcess
from tests.waiting import wait_until

MODELS = ("fable:latest", "saga:latest")
USERS = 3
SLOTS = 16
HANG_S = 60.0  # a limit for hanging, not an expectation
ROWS_WITHIN_S = 20.0
_LAST_WORDS = 2000


class Server:
    """A server that is killed and started again with the data that it has on disk."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._running: RunningProgram | None = None

    async def start(self) -> None:
        """Return when it serves."""
        self._running = await start(self._program)
        await self._running.until_it_serves()

    async def kill(self) -> None:
        """End it as a crash would."""
        assert self._running is not None
        self._running.send(signal.SIGKILL)
        await self._running.wait()

    async def stop(self) -> None:
        """Ask it to end."""
        assert self._running is not None
        await self._running.stop()


class Part:
    """A gateway or a worker: its place, which outlives the process in it, and a proxy on each of its lines.

    Args:
        name: For example `worker-2`.
        lines: By whom they lead to; `clients` lead to a gateway.
        starter: Starts its processes.
        environment: Their settings, without the addresses on the lines.

    """

    def __init__(
        self, name: str, lines: Mapping[str, FaultProxy], starter: ProcessStarter, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.lines = lines
        self._starter = starter
        self._environment = dict(environment)
        self._process: ServerProcess | None = None

    @property
    def process(self) -> ServerProcess:
        """The process in it."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process

    @property
    def runs(self) -> bool:
        """Whether a process is in it that has not ended."""
        return self._process is not None and self._process.exit_code is None

    async def start(self) -> None:
        """Put a process into it, and return when that serves."""
        module = self.name.partition("-")[0]
        self._process = await self._starter(module, self._environment)

    async def kill(self) -> None:
        """End the process as a crash would."""
        await self.process.kill()

    async def stop(self) -> None:
        """Ask the process to end; it must do so in order."""
        await self.process.stop()

    def send(self, signal_: Signals) -> None:
        """Send the process a signal."""
        self.process.send(signal_)


class Site:
    """Gateways, workers each beside a storyteller, Valkey with its append-only file, and whatever PostgreSQL is given.

    Args:
        directory: Where everything is kept; PostgreSQL apart, which the caller has.
        database_url: An empty database.
        postgresql: The server of that database, where it may be stopped.
        chance: Of the delays on the lines.
        gateways: How many.
        workers: How many.
        settings: What gateways and workers are told besides.

    """

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str,
        postgresql: Server | None = None,
        chance: Random,
        gateways: int = 2,
        workers: int = 2,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.directory = directory
        self.tellings: Counter[str] = Counter()
        self.storytellers: list[Storyteller] = []
        self.gateways: list[Part] = []
        self.workers: list[Part] = []
        self.tokens: list[str] = []
        self.redis: Redis
        self._database_url = database_url
        self._postgresql = postgresql
        self._chance = chance
        self._sizes = gateways, workers
        program, self._redis_logins = valkey(
            directory / "valkey", port=free_port(), passwords=Passwords.new(), log=directory / "valkey.log"
        )
        self._database_logins: Logins
        self.valkey = Server(program)
        self._settings = {
            "JWT_SECRET": secrets.token_hex(32),
            "JWT_ACCESS_TTL_SECS": "86400",
            "MIGRATE_ON_START": "false",
            "LOG_FORMAT": "json",
            "RATE_LIMIT_ENABLED": "false",
            "WORKER_SLOTS": str(SLOTS),
            "WORKER_MAX_JOBS": str(2 * SLOTS),
            "QUEUE_MAX_DEPTH": "20000",
            "WORKER_DRAIN_SECS": "1",
            "OLLAMA_DEFAULT_TIMEOUT_MS": "2000",
            "OLLAMA_FIRST_TOKEN_TIMEOUT_MS": "2000",
            "OLLAMA_BREAKER_THRESHOLD": "1000",  # a model that rests would only slow things down
        } | {name: str(value) for name, value in (settings or {}).items()}
        self._opened = AsyncExitStack()

    @property
    def parts(self) -> list[Part]:
        """All gateways and workers."""
        return [*self.gateways, *self.workers]

    def doors(self) -> Sequence[str]:
        """Return where clients reach the gateways."""
        return [gateway.lines["clients"].url for gateway in self.gateways]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            await self.valkey.start()
            opening.push_async_callback(self.valkey.stop)
            self.redis = await opening.enter_async_context(connect(self._redis_logins.operator, role="test"))
            self._database_logins = await migrated(self._database_url)
            starter = await opening.enter_async_context(ProcessStarter(self.directory))
            gateways, workers = self._sizes
            for number in range(1, gateways + 1):
                self.gateways.append(await self._gateway(opening, starter, f"gateway-{number}"))
            for number in range(1, workers + 1):
                self.workers.append(await self._worker(opening, starter, f"worker-{number}"))
            await asyncio.gather(*(part.start() for part in self.parts))
            await self.until_whole()
            self.tokens = [await self.sign_up() for _ in range(USERS)]
            self._opened = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def until_whole(self) -> None:
        """Mend all lines, start what does not run, and return when every gateway sees all workers and their models."""
        for part in self.parts:
            for line in part.lines.values():
                line.mend()
            if not part.runs:
                await part.start()

        async def is_whole() -> bool:
            async with httpx.AsyncClient(timeout=HANG_S, trust_env=False) as http:
                for door in self.doors():
                    try:
                        ready = await http.get(f"{door}/health/ready")
                        models = await http.get(f"{door}/v1/models")
                    except httpx.TransportError:
                        return False
                    if not ready.is_success or ready.json()["live_workers"] < len(self.workers):
                        return False
                    if models.json() != sorted(MODELS):
                        return False
            return True

        await wait_until(is_whole, description="every gateway sees every worker", timeout_s=HANG_S)

    async def until_idle(self) -> None:
        """Return when no job waits or runs, and every storyteller is left alone."""

        async def is_idle() -> bool:
            keys = [key for prefix in (WAITING, DELAYED, RUNNING) for key in await self.redis.keys(f"{prefix}*")]
            return not keys and not any(each.state.ended_as("active") for each in self.storytellers)

        await wait_until(is_idle, description="every job has ended", timeout_s=HANG_S)

    @asynccontextmanager
    async def without_postgresql(self) -> AsyncGenerator[None]:
        """Have no PostgreSQL inside the block: it is stopped where it is ours, otherwise nobody reaches it."""
        if self._postgresql is not None:
            await self._postgresql.stop()
            yield
            await self._postgresql.start()
            return
        lines = [part.lines["postgresql"] for part in self.parts]
        for line in lines:
            line.refuse()
        yield
        for line in lines:
            line.mend()

    async def missing_rows(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of the jobs that have no row in PostgreSQL, once no more rows come."""

        async def missing() -> list[str]:
            connection = await asyncpg.connect(self._database_url)
            try:
                rows = await connection.fetch("SELECT id::text FROM jobs WHERE id = ANY($1::uuid[])", job_ids)
            finally:
                await connection.close()
            return sorted(set(job_ids) - {row["id"] for row in rows})

        with suppress(pytest.fail.Exception):
            await wait_until(lambda: _is_empty(missing()), description="every job has its row", timeout_s=ROWS_WITHIN_S)
        return await missing()

    async def postgresql_connections(self) -> int:
        """Return how many there are."""
        connection = await asyncpg.connect(self._database_url)
        try:
            return await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        finally:
            await connection.close()

    def errors(self) -> list[str]:
        """Return what any process has logged as a bug."""
        logs = (*self.directory.glob("gateway-*.log"), *self.directory.glob("worker-*.log"))
        lines = [(log.stem, line) for log in logs for line in log.read_text(errors="replace").splitlines()]
        return [f"{name}: {line[:_LAST_WORDS]}" for name, line in lines if not _is_harmless(line)]

    async def _line(self, opening: AsyncExitStack, url: str) -> FaultProxy:
        return await opening.enter_async_context(FaultProxy(url, chance=self._chance))

    async def _gateway(self, opening: AsyncExitStack, starter: ProcessStarter, name: str) -> Part:
        port = free_port()
        lines = await self._store_lines(opening, self._redis_logins.gateway, self._database_logins.gateway)
        lines["clients"] = await self._line(opening, f"http://127.0.0.1:{port}")
        return Part(name, lines, starter, self._environment(lines) | {"APP_PORT": str(port)})

    async def _worker(self, opening: AsyncExitStack, starter: ProcessStarter, name: str) -> Part:
        goes_on = len(self.storytellers) % 2 == 0  # so that answers are continued and begun anew
        storyteller = await opening.enter_async_context(Storyteller(MODELS, self.tellings, goes_on=goes_on))
        self.storytellers.append(storyteller)
        lines = await self._store_lines(opening, self._redis_logins.worker, self._database_logins.worker)
        lines["ollama"] = await self._line(opening, storyteller.url)
        return Part(name, lines, starter, self._environment(lines) | {"OLLAMA_BASE_URL": lines["ollama"].url})

    async def _store_lines(self, opening: AsyncExitStack, redis_url: str, database_url: str) -> dict[str, FaultProxy]:
        return {
            "redis": await self._line(opening, redis_url),
            "postgresql": await self._line(opening, database_url),
        }

    def _environment(self, lines: Mapping[str, FaultProxy]) -> dict[str, str]:
        return self._settings | {"REDIS_URL": lines["redis"].url, "DATABASE_URL": lines["postgresql"].url}

    async def sign_up(self) -> str:
        """Make an account and return an access token of it."""
        async with httpx.AsyncClient(base_url=self.doors()[0], timeout=HANG_S, trust_env=False) as http:
            credentials = {"email": f"{secrets.token_hex(8)}@example.org", "password": secrets.token_urlsafe(24)}
            (await http.post("/v1/auth/signup", json=credentials)).raise_for_status()
            answer = await http.post("/v1/auth/login", json=credentials)
            return answer.json()["access_token"]


async def _is_empty(answer: Awaitable[Sequence[object]]) -> bool:
    return not await answer


def _is_harmless(line: str) -> bool:
    try:
        return msgspec.json.decode(line)["level"] in ("DEBUG", "INFO", "WARNING")
    except msgspec.DecodeError:
        return False
