"""Two Redis servers, one of which the other follows: to kill, to start again, and to fail over from."""

import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from infra.local.logins import Passwords
from infra.local.ports import free_port
from infra.local.program import RunningProgram, start
from infra.local.valkey import valkey
from shared.redis_client import connect
from tests.faults.proxy import FaultProxy
from tests.waiting import wait_until

_PASSWORDS = Passwords.new()  # of both


class RedisServer:
    """A server that keeps its data in an append-only file."""

    def __init__(self, directory: Path) -> None:
        self._program, self.logins = valkey(
            directory, port=free_port(), passwords=_PASSWORDS, log=directory.with_suffix(".log")
        )
        self._running: RunningProgram

    async def start(self) -> None:
        """Start it, with the data that it had when it ended, and return when it serves."""
        self._running = await start(self._program)
        await self._running.until_it_serves()

    async def kill(self) -> None:
        """End it by SIGKILL."""
        self._running.send(signal.SIGKILL)
        await self._running.wait()

    async def stop(self) -> None:
        """End it if it runs."""
        await self._running.stop()


class RedisPair:
    """A primary, a replica, and a way to the primary, whichever of the two that is."""

    def __init__(self, primary: RedisServer, replica: RedisServer, way: FaultProxy, replication: FaultProxy) -> None:
        self.primary = primary
        self.way = way
        self.logins = primary.logins.through(way.url)
        self._replica = replica
        self._replication = replication

    async def follow(self) -> None:
        """Have the replica receive what the primary has and gets; return when it is up to date."""
        async with connect(self._replica.logins.operator, role="test") as redis:
            await redis.config_set("masterauth", _PASSWORDS.operator)
            await redis.replicaof("127.0.0.1", str(urlsplit(self._replication.url).port))

            async def follows() -> bool:
                return (await redis.info("replication"))["master_link_status"] == "up"

            await wait_until(follows, description="the replica follows")

    async def lag(self) -> None:
        """Have the replica receive nothing more; the primary goes on acknowledging."""
        self._replication.hold_replies()
        await self._replication.until_held()

    async def fail_over(self) -> None:
        """Have the replica be the primary, with what it has received."""
        async with connect(self._replica.logins.operator, role="test") as redis:
            await redis.replicaof("NO", "ONE")
        self.primary, self._replica = self._replica, self.primary
        self.way.lead_to(self.primary.logins.operator)
        self._replication.mend()
        self._replication.lead_to(self.primary.logins.operator)


@asynccontextmanager
async def redis_pair(directory: Path) -> AsyncGenerator[RedisPair]:
    """Two servers that keep their data under a directory; nobody follows anybody yet."""
    async with AsyncExitStack() as stack:
        primary, replica = (RedisServer(directory / name) for name in ("valkey-a", "valkey-b"))
        for server in (primary, replica):
            await server.start()
            stack.push_async_callback(server.stop)
        way, replication = [await stack.enter_async_context(FaultProxy(primary.logins.operator)) for _ in range(2)]
        yield RedisPair(primary, replica, way, replication)
