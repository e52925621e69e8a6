"""A wire to Redis that tests break."""

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK_BYTES = 1 << 16
_HANG_S = 20.0  # a limit for hanging, not an expectation


class RedisWire:
    """A TCP proxy in front of Redis: what goes through it can be cut off, or held up, or go unanswered.

    That concerns clients that connect to its `url` alone; what a test asks Redis directly is answered as ever.
    """

    def __init__(self, redis_url: str) -> None:
        self._target = urlsplit(redis_url)
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.WriteTransport, asyncio.Task[None]] = {}
        self._takes = asyncio.Event()  # set unless requests are left unread
        self._takes.set()
        self._passes = asyncio.Event()  # set unless replies are held up
        self._passes.set()
        self._holds = asyncio.Event()  # set while there is a reply that is held up
        self._is_cut = asyncio.Event()
        self._cuts_at_next_reply = False

    @property
    def url(self) -> str:
        """Where Redis seems to be."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return self._target._replace(netloc=f":{self._target.password}@127.0.0.1:{port}").geturl()

    def cut(self) -> None:
        """End all connections, and new ones as soon as they are made, until `mend`."""
        self._is_cut.set()
        for client in self._connections:
            client.abort()

    def cut_at_next_reply(self) -> None:
        """Have the next request done, and `cut` in place of its reply."""
        self._cuts_at_next_reply = True

    async def until_cut(self) -> None:
        """Return when what was to be cut is cut."""
        async with asyncio.timeout(_HANG_S):
            await self._is_cut.wait()

    def mend(self) -> None:
        """Let new connections through."""
        self._is_cut.clear()

    def leave_requests_unread(self) -> None:
        """Take no request any more: what a client sends fills the buffers on the way."""
        self._takes.clear()

    def hold_replies(self) -> None:
        """Let no reply pass until `release_replies`; requests still reach Redis."""
        self._passes.clear()

    async def until_held(self) -> None:
        """Return when a reply is held up: then its request has been done."""
        async with asyncio.timeout(_HANG_S):
            await self._holds.wait()

    def release_replies(self) -> None:
        """Let replies pass again."""
        self._holds.clear()
        self._passes.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.release_replies()
        self.cut()
        self._takes.set()
        await asyncio.gather(*self._connections.values())

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self._is_cut.is_set():
            to_client.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections[to_client.transport] = task
        from_redis, to_redis = await asyncio.open_connection(self._target.hostname, self._target.port)
        pumps = [
            asyncio.create_task(self._pass_requests(from_client, to_redis)),
            asyncio.create_task(self._pass_replies(from_redis, to_client)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._connections.pop(to_client.transport)
        for end in (to_client, to_redis):
            end.transport.abort()

    async def _pass_requests(self, from_client: asyncio.StreamReader, to_redis: asyncio.StreamWriter) -> None:
        while data := await from_client.read(_CHUNK_BYTES):
            await self._takes.wait()
            to_redis.write(data)
            await to_redis.drain()

    async def _pass_replies(self, from_redis: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        while data := await from_redis.read(_CHUNK_BYTES):
            if self._cuts_at_next_reply:
                self._cuts_at_next_reply = False
                self.cut()
                return
            if not self._passes.is_set():
                self._holds.set()
                await self._passes.wait()
            to_client.write(data)
            await to_client.drain()
