"""Makes Redis clients by role, so that every connection has a name and deadlines fit for what it does."""

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    DefaultParser,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

COMMAND_TIMEOUT_S = 1.5  # that Redis is down must be told to a client in under 2 s
CONNECT_TIMEOUT_S = 1.0
MAX_CONNECTIONS = 512  # one per command in flight


class _CancellableSends(AbstractConnection):
    """Sends as redis-py 5.3 does, but for its `asyncio.wait_for`.

    On Python 3.11 that can swallow a cancellation (python/cpython#86296), and background work that was cancelled once
    would go on for ever. It also costs a task per command.
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:  # noqa: FBT001, FBT002  redis-py's signature
        if not self.is_connected:
            await self.connect()
        elif check_health:
            await self.check_health()
        parts = [command.encode()] if isinstance(command, str) else [command] if isinstance(command, bytes) else command
        writer = cast("asyncio.StreamWriter", self._writer)
        try:
            async with asyncio.timeout(self.socket_timeout):
                writer.writelines(parts)
                await writer.drain()
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout writing to socket") from None
        except (OSError, RuntimeError) as error:  # the latter is uvloop's, for a connection that was lost just now
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"Error while writing to socket: {error}") from error
        except BaseException:
            await self.disconnect(nowait=True)  # half a command may have gone out
            raise


class DemotedError(RedisConnectionError):
    """The server takes no writes any more, because it has become a replica: what the address leads to now may."""


class _Parser(DefaultParser):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]  one of several
    """Reads as redis-py does, and gives up connections to a server that was demoted instead of asking it for ever."""

    EXCEPTION_CLASSES: ClassVar[dict[str, Any]] = {
        **DefaultParser.EXCEPTION_CLASSES,
        "READONLY": DemotedError,
        "MASTERDOWN": DemotedError,
    }


class _Tcp(_CancellableSends, Connection):
    pass


class _Tls(_CancellableSends, SSLConnection):
    pass


class _Unix(_CancellableSends, UnixDomainSocketConnection):
    pass


_CONNECTIONS: dict[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}


class _Pool(ConnectionPool):
    async def get_connection(self, command_name: object = None, *keys: object, **options: object) -> AbstractConnection:  # noqa: ARG002  redis-py's signature
        """Connect as redis-py 5.3 does, but not under the pool's lock.

        There those whom a server keeps waiting that does not answer would wait one after the other.
        """
        connection: AbstractConnection = self.get_available_connection()
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection


class _Pipeline(Pipeline):
    def annotate_exception(self, exception: Exception, number: int, command: Iterable[object]) -> None:
        """Leave an error as the server told it: redis-py adds the whole command, and with it prompts and answers."""


class _Client(Redis):
    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: FBT001, FBT002  redis-py's signature
        pool: Any = self.connection_pool  # which its type takes for that of the client without asyncio
        return _Pipeline(pool, self.response_callbacks, transaction, shard_hint)


def connect(url: str, *, role: str, read_timeout_s: float | None = COMMAND_TIMEOUT_S) -> Redis:
    """Return a client that connects at first use and answers bytes.

    An error never quotes the command, so that it can be logged. A command is not repeated on a broken connection:
    most of ours are scripts that must not run twice unnoticed.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        role: What shows up in `CLIENT LIST`, for example `gateway`.
        read_timeout_s: How long an answer may take; None: whoever asks bounds that otherwise.

    """
    pool: Any = _Pool.from_url(
        url,
        client_name=role,
        lib_name=None,  # what `CLIENT SETINFO` tells nobody needs, and Redis 7.0 does not know it
        lib_version=None,
        socket_timeout=read_timeout_s,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_keepalive=True,
        max_connections=MAX_CONNECTIONS,
        parser_class=_Parser,
        retry=Retry(NoBackoff(), 0),
    )
    pool.connection_class = _CONNECTIONS[pool.connection_class]
    return _Client.from_pool(pool)
