"""The whole product as processes: gateways, workers, the servers they need, and a double in place of Ollama.

Each process logs in as itself, and may do what its role is granted (migrations/roles.py, infra/redis/users.acl).

It lives as long as the tests of this package, because a process takes a second or two to start. What one test adds
to it ends with the test, and every test must leave it idle.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import astuple
from itertools import count, cycle
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from msgspec import structs
from redis.asyncio import Redis
from sqlalchemy import RowMapping, func, select, text, update

from infra.local.logins import Logins
from shared.database.engine import Database
from shared.database.engine import connect as connect_database
from shared.database.tables import jobs, metadata, users
from shared.redis_client import connect
from shared.redis_keys import (
    ATTENDED,
    DEADLINES,
    DELAYED,
    LIMIT,
    READERS,
    REVOKED,
    RUNNING,
    STREAMS,
    UNSTORED,
    WAITING,
    WORKERS,
)
from shared.redis_keys import MODELS as REDIS_MODELS
from tests.commands import Finished, run_module
from tests.databases import migrated
from tests.end_to_end.client import CANARY, HANG_S, Account, Client
from tests.faults.proxy import FaultProxy
from tests.key_leaks import immortal_keys
from tests.ollama_double import Answer, Generation, OllamaDouble
from tests.processes import ProcessStarter, ServerProcess
from tests.waiting import wait_until

Double = TypeVar("Double", bound=OllamaDouble)

MODELS = ("ada:latest", "bell:latest", "curie:7b", "darwin:70b-q4")
SLOTS = 4  # of a worker, per model


class Stack:
    """Two gateways, one worker, a double, and whatever a test adds.

    Args:
        redis: An empty Redis.
        database_url: An empty database.
        logs: Where the processes write.

    """

    def __init__(self, *, redis: Logins, database_url: str, logs: Path) -> None:
        self.double = OllamaDouble(MODELS)
        self.redis: Redis
        self._database: Database
        self.gateways: list[ServerProcess] = []
        self.worker: ServerProcess
        self.jwt_secret, self.metrics_token = secrets.token_hex(32), secrets.token_hex(32)
        self._settings = {
            "MIGRATE_ON_START": "false",
            "JWT_SECRET": self.jwt_secret,
            "METRICS_TOKEN": self.metrics_token,
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
            "RATE_LIMIT_ENABLED": "false",
            "DISCONNECT_GRACE_SECS": "0",
            "WORKER_SLOTS": str(SLOTS),
            "WORKER_MAX_JOBS": "64",
            "OLLAMA_RETRY_DELAY_MS": "2",
            "OLLAMA_BREAKER_THRESHOLD": "1000",  # most tests fail on purpose
        }
        self._redis_logins = redis
        self._database_url = database_url
        self._database_logins: Logins
        self._logs = logs
        self._numbers = count(1)
        self._models = cycle(MODELS)
        self._accounts: dict[str, Account] = {}
        self._clients: dict[tuple[str, str], Client] = {}
        self._kept: dict[tuple[tuple[str, object], ...], ServerProcess] = {}
        self._opened: AsyncExitStack
        self._keepers: ProcessStarter  # of processes that live as long as the stack
        self._test: AsyncExitStack  # of what ends with the test
        self._starter: ProcessStarter
        self._first_generation = 0

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            opening.callback(self._judge_logs)
            self.redis = await opening.enter_async_context(connect(self._redis_logins.operator, role="test"))
            await self.redis.flushall()
            await self.redis.acl_log_reset()
            self._database_logins = await migrated(self._database_url)
            self._database = connect_database(self._database_url, role="test")
            opening.push_async_callback(self._database.close)
            await opening.enter_async_context(self.double)
            self._keepers = await opening.enter_async_context(self._new_starter())
            *self.gateways, self.worker = await asyncio.gather(
                self._start_gateway(self._keepers, {}),
                self._start_gateway(self._keepers, {}),
                self._start_worker(self._keepers, self.double, {}),
            )
            self._opened = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    @asynccontextmanager
    async def for_one_test(self) -> AsyncGenerator[Self]:
        """Lend the stack to a test, which must leave it idle."""
        self._first_generation = len(self.double.state.generations)
        async with AsyncExitStack() as self._test:
            self._starter = await self._test.enter_async_context(self._new_starter())
            yield self
            await self.until_idle()
        await self._judge_keys()
        await self._judge_permissions()

    async def client(self, user: str = "ada", *, gateway: ServerProcess | None = None) -> Client:
        """Return a client of a user, who signs up and logs in when first heard of; by default at the first gateway."""
        url = (gateway or self.gateways[0]).url
        if (user, url) not in self._clients:
            if user not in self._accounts:
                self._accounts[user] = await self._sign_up(user)
            client = self._clients[user, url] = Client(url, self._accounts[user])
            self._opened.push_async_callback(client.http.aclose)
        return self._clients[user, url]

    async def newcomer(self, *, gateway: ServerProcess | None = None) -> Client:
        """Return a client of a user who has done nothing yet."""
        return await self.client(f"user-{next(self._numbers)}", gateway=gateway)

    async def program(self, owner: Client, *, gateway: ServerProcess | None = None, **fields: object) -> Client:
        """Return a client that comes in with a new API key of a user; `account.id` is the key's."""
        made = await owner.http.post("/v1/api-keys", json={"name": "program", **fields})
        assert made.status_code == 201, made.text
        return self.holder_of(owner, made.json()["key"], key_id=made.json()["id"], gateway=gateway)

    def holder_of(self, owner: Client, key: str, *, key_id: str, gateway: ServerProcess | None = None) -> Client:
        """Return a client that comes in with this API key; `account.id` is the key's."""
        account = self._accounts[key_id] = structs.replace(owner.account, id=key_id, token=key)
        client = Client((gateway or self.gateways[0]).url, account)
        self._test.push_async_callback(client.http.aclose)
        return client

    def model(self, *answers: Answer) -> str:
        """Return the name of a model that the worker has, and that gives these answers, the last one for ever."""
        name = next(self._models)
        self.double.script(name, *answers)
        return name

    def gate(self) -> str:
        """Return a name for a gate that nobody has released."""
        return f"gate-{next(self._numbers)}"

    def generations(self, model: str) -> list[Generation]:
        """Return what the double was asked of a model in this test."""
        return [seen for seen in self.double.state.generations[self._first_generation :] if seen.model == model]

    async def until_double(self, model: str, *outcomes: str) -> None:
        """Wait until what the double was asked of a model in this test has come to exactly these outcomes."""
        await self.double.until(
            lambda _: sorted(seen.outcome for seen in self.generations(model)) == sorted(outcomes),
            f"generations of {model} are {outcomes}",
        )

    async def gateway(self, **settings: object) -> ServerProcess:
        """Return a gateway with these settings, which is shared by all tests that ask for the same."""
        wanted = tuple(sorted(settings.items()))
        if wanted not in self._kept:
            self._kept[wanted] = await self._start_gateway(self._keepers, settings)
        return self._kept[wanted]

    async def add_gateway(self, **settings: object) -> ServerProcess:
        """Start a gateway of the test's own."""
        return await self._start_gateway(self._starter, settings)

    async def add_worker(self, double: OllamaDouble | None = None, **settings: object) -> ServerProcess:
        """Start a worker of the test's own beside a double, by default the one of the stack."""
        return await self._start_worker(self._starter, double or self.double, settings)

    @asynccontextmanager
    async def workers_beside(self, *doubles: OllamaDouble, **settings: object) -> AsyncGenerator[None]:
        """Run a worker beside each of these doubles inside the block, which may outlast a test."""
        async with self._new_starter() as starter:
            await asyncio.gather(*(self._start_worker(starter, double, settings) for double in doubles))
            yield

    async def add_double(self, double: Double) -> Double:
        """Start another double for this test; its models become known when a worker beside it is added."""
        return await self._test.enter_async_context(double)

    async def until_served(self, *models: str, gateway: ServerProcess | None = None) -> None:
        """Wait until exactly these models, beside those of the stack, are announced at a gateway."""
        wanted = sorted({*MODELS, *models})
        async with httpx.AsyncClient(timeout=HANG_S) as http:

            async def listed() -> bool:
                response = await http.get(f"{(gateway or self.gateways[0]).url}/v1/models")
                return response.json() == wanted

            await wait_until(listed, description=f"the models are {wanted}")

    async def empty_redis(self) -> None:
        """Lose everything that Redis has, and wait until the workers have announced themselves again."""
        await self.redis.flushall()

        async def announced() -> bool:
            return await self.redis.exists(REDIS_MODELS, WORKERS) == 2

        await wait_until(announced, description="the worker has announced itself")
        for gateway in self.gateways:
            await self.until_served(gateway=gateway)

    async def add_proxy(self) -> FaultProxy:
        """Return a way of a gateway to Redis that the test can break."""
        return await self._test.enter_async_context(FaultProxy(self._redis_logins.gateway))

    async def until_left(self, job_id: str, *, readers: int) -> None:
        """Wait until only so many gateways have readers of a job."""

        async def left() -> bool:
            return await self.redis.zcard(READERS + job_id) == readers

        await wait_until(left, description=f"job {job_id} is read at {readers} gateways")

    async def disable(self, client: Client) -> None:
        """Have a user let in no more."""
        async with self._database.transaction() as connection:
            await connection.execute(
                update(users).where(users.c.id == client.account.id).values(disabled_at=func.now())
            )

    async def operate(self, *words: str, stdin: str = "", **settings: object) -> Finished:
        """Run `deepersensor <words>` with the settings of a gateway, and return when it has ended."""
        environment = self._settings | self._gateway_stores() | _to_environment(settings)
        return await run_module("gateway.operators", environment, *words, directory=self._logs, stdin=stdin)

    async def database_connections(self) -> int:
        """Return how many connections there are to the database."""
        counted = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        async with self._database.transaction() as connection:
            return (await connection.execute(counted)).scalar_one()

    async def until_recorded(self, job_id: str) -> RowMapping:
        """Wait until a job has its row in PostgreSQL, and return it."""

        async def recorded() -> RowMapping | None:
            async with self._database.transaction() as connection:
                return (await connection.execute(select(jobs).where(jobs.c.id == job_id))).mappings().first()

        row = await wait_until(recorded, description=f"job {job_id} has its row")
        assert row is not None
        return row

    async def rows_of(self, user_id: str) -> dict[str, int]:
        """Return how many rows there are of a user in each table that has any."""
        async with self._database.transaction() as connection:
            counts = {
                table.name: await connection.scalar(
                    select(func.count()).where((table.c.id if table is users else table.c.user_id) == user_id)
                )
                for table in metadata.tables.values()
                if table is users or "user_id" in table.c
            }
        return {name: count for name, count in counts.items() if count}

    async def keys_of(self, user_id: str) -> list[str]:
        """Return the keys in Redis that name a user, but for what was revoked and how fast they may ask."""
        keys = [key.decode() for key in await self.redis.keys(f"*{user_id}*")]
        return [key for key in keys if not key.startswith((REVOKED, LIMIT, STREAMS))]

    async def execute(self, statement: str) -> None:
        """Run a statement in the stack's database."""
        async with self._database.transaction() as connection:
            await connection.execute(text(statement))

    async def count(self, statement: str) -> int:
        """Return the number that a query of the stack's database answers."""
        async with self._database.transaction() as connection:
            return (await connection.execute(text(statement))).scalar_one()

    @asynccontextmanager
    async def unable_to_accept(self) -> AsyncGenerator[None]:
        """Let no durable job be committed inside the block: whoever wants to waits for its end."""
        async with self._database.transaction() as connection:
            await connection.execute(text("LOCK TABLE accepted_jobs IN EXCLUSIVE MODE"))
            yield

    async def until_one_waits_to_be_accepted(self) -> None:
        """Wait until a job's place is reserved, and its gateway at the point of committing it."""
        waiting = text("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = CAST('accepted_jobs' AS regclass)")

        async def waits() -> bool:
            async with self._database.transaction() as connection:
                return (await connection.execute(waiting)).first() is not None

        await wait_until(waits, description="a gateway is about to commit a job")

    def secrets(self) -> list[str]:
        """Return what nobody must read anywhere: of operators, of the processes, and of everybody who has signed up."""
        urls = (*astuple(self._redis_logins), *astuple(self._database_logins))
        passwords = [str(urlsplit(url).password) for url in urls]
        of_users = [
            text
            for account in self._accounts.values()
            for text in (account.password, account.token, account.refresh_token)
        ]
        return [self.jwt_secret, self.metrics_token, *passwords, *of_users]

    def log_lines(self) -> list[str]:
        """Return what all gateways and workers have logged since the stack began."""
        paths = (*self._logs.rglob("gateway-*.log"), *self._logs.rglob("worker-*.log"))
        return [line for path in paths for line in path.read_text().splitlines()]

    async def until_idle(self) -> None:
        """Wait until no job waits or runs, and the double is left alone."""

        async def leftovers() -> list[object]:
            keys = [key for prefix in (WAITING, DELAYED, RUNNING) for key in await self.redis.keys(f"{prefix}*")]
            keys += [key for key in (DEADLINES, ATTENDED, UNSTORED) if await self.redis.exists(key)]
            return [*keys, *self.double.state.ended_as("active")]

        async def idle() -> bool:
            return not await leftovers()

        await wait_until(idle, description="every job has ended")

    async def _start_gateway(self, starter: ProcessStarter, settings: Mapping[str, object]) -> ServerProcess:
        gateway = await starter("gateway", self._settings | self._gateway_stores() | _to_environment(settings))
        await self.until_served(gateway=gateway)
        return gateway

    def _gateway_stores(self) -> dict[str, str]:
        return {"REDIS_URL": self._redis_logins.gateway, "DATABASE_URL": self._database_logins.gateway}

    async def _start_worker(
        self, starter: ProcessStarter, double: OllamaDouble, settings: Mapping[str, object]
    ) -> ServerProcess:
        own = {
            "REDIS_URL": self._redis_logins.worker,
            "DATABASE_URL": self._database_logins.worker,
            "OLLAMA_BASE_URL": double.url,
            "JWT_SECRET": "",
            "METRICS_TOKEN": "",
        }
        return await starter("worker", self._settings | own | _to_environment(settings))

    async def _sign_up(self, user: str) -> Account:
        credentials = {"email": f"{user}@example.org", "password": f"{CANARY} {secrets.token_hex(8)}"}
        async with httpx.AsyncClient(base_url=self.gateways[0].url, timeout=HANG_S) as http:
            signed_up = await http.post("/v1/auth/signup", json=credentials)
            logged_in = await http.post("/v1/auth/login", json=credentials)
        tokens = logged_in.json()
        return Account(
            id=signed_up.json()["id"],
            token=tokens["access_token"],
            refresh_token=tokens["refresh_token"],
            **credentials,
        )

    def _new_starter(self) -> ProcessStarter:
        directory = self._logs / str(next(self._numbers))
        directory.mkdir()
        return ProcessStarter(directory)

    async def _judge_keys(self) -> None:
        leaked = await immortal_keys(self.redis)
        assert not leaked, f"keys that never expire: {leaked}"

    async def _judge_permissions(self) -> None:
        refused = [
            f"{entry['username']} may not: {entry['object']} ({entry['reason']}, {entry['context']})"
            for entry in await self.redis.acl_log()
        ]
        assert not refused, f"infra/redis/users.acl refused what a role needs: {refused}"

    def _judge_logs(self) -> None:
        confidential = (CANARY, *self.secrets())
        for line in self.log_lines():
            assert not any(text in line for text in confidential), f"a secret in a log: {line}"
            assert "permission denied" not in line, f"migrations/roles.py refused what a role needs: {line}"
            assert line.startswith("{"), f"a line that our log did not write: {line}"
            assert msgspec.json.decode(line)["level"] != "ERROR", f"a bug: {line}"


def _to_environment(settings: Mapping[str, object]) -> dict[str, str]:
    return {name.upper(): str(value) for name, value in settings.items()}
