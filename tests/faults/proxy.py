"""A TCP proxy between any two parts of the product, on which lines break in every way that lines do."""

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from infra.local.ports import free_port

_HOST = "127.0.0.1"
_CHUNK_BYTES = 1 << 16
_HANG_S = 20.0  # a limit for hanging, not an expectation
_DRIPS_PER_S = 50
_ON_FOR_0_S = struct.pack("ii", 1, 0)  # which makes closing a reset


class FaultProxy:
    """Stands in front of a server for those who connect to its `url`; nobody else notices what it does.

    Args:
        server_url: Where the server is: `redis://…`, `postgresql://…`, `http://…`.
        chance: Decides how long each delay is.

    """

    def __init__(self, server_url: str, *, chance: random.Random | None = None) -> None:
        self._target = urlsplit(server_url)
        self._port = free_port()
        self._place = _bound_to(self._port)
        self._server: asyncio.Server | None = None
        self._listening: asyncio.Task[None] | None = None  # held here: a task that nobody holds may vanish
        self._connections: dict[asyncio.WriteTransport, asyncio.Task[None]] = {}
        chance = chance or random.Random()
        self._requests, self._replies = _Direction(chance), _Direction(chance)
        self._is_cut = asyncio.Event()
        self._cuts_at_next_reply = False

    @property
    def url(self) -> str:
        """Where the server seems to be."""
        login, at, _ = self._target.netloc.rpartition("@")
        return self._target._replace(netloc=f"{login}{at}{_HOST}:{self._port}").geturl()

    def reset(self) -> None:
        """Reset all connections; new ones get through."""
        for client in self._connections:
            reset(client)

    def lead_to(self, server_url: str) -> None:
        """Reset all connections; new ones get through to another server."""
        self._target = urlsplit(server_url)
        self.reset()

    def cut(self) -> None:
        """Reset all connections, and new ones as soon as they are made, until `mend`."""
        self._is_cut.set()
        self.reset()

    def cut_at_next_reply(self) -> None:
        """Have the next request done, and `cut` in place of its reply."""
        self._cuts_at_next_reply = True

    async def until_cut(self) -> None:
        """Return when what was to be cut is cut."""
        async with asyncio.timeout(_HANG_S):
            await self._is_cut.wait()

    def refuse(self) -> None:
        """Reset all connections, and listen no more until `mend`."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._place = _bound_to(self._port)
        self.reset()

    def hold_requests(self) -> None:
        """Take no request any more until `mend`: what a client sends fills the buffers on the way."""
        self._requests.hold()

    def hold_replies(self) -> None:
        """Let no reply pass until `mend`; requests still reach the server."""
        self._replies.hold()

    def freeze(self) -> None:
        """Let nothing pass either way until `mend`; connections stay open, and new ones are taken."""
        self.hold_requests()
        self.hold_replies()

    async def until_held(self) -> None:
        """Return when a reply is held up: then its request has been done."""
        async with asyncio.timeout(_HANG_S):
            await self._replies.holds.wait()

    def delay(self, least_s: float, most_s: float) -> None:
        """Have whatever passes, either way, wait until `mend`, each time for another while between two bounds."""
        for direction in (self._requests, self._replies):
            direction.delay_s = (least_s, most_s)

    def drip(self, bytes_per_s: int) -> None:
        """Let no more than so much pass, each way on each connection, until `mend`."""
        for direction in (self._requests, self._replies):
            direction.bytes_per_s = bytes_per_s

    def mend(self) -> None:
        """Let everything pass, and what was held up first."""
        self._is_cut.clear()
        self._requests.mend()
        self._replies.mend()
        if self._server is None and (self._listening is None or self._listening.done()):
            self._listening = asyncio.create_task(self._listen())

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening is not None:
            await self._listening
        serving = list(self._connections.values())
        self.refuse()
        self._requests.mend()
        self._replies.mend()
        await asyncio.gather(*serving)
        self._place.close()

    async def _listen(self) -> None:
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # inherited by the connections
        self._server = await asyncio.start_server(self._serve, sock=self._place)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self._is_cut.is_set():
            reset(to_client.transport)
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections[to_client.transport] = task
        try:
            from_server, to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            reset(to_client.transport)
        else:
            await self._join((from_client, to_client), (from_server, to_server))
        self._connections.pop(to_client.transport)

    async def _join(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Pass on what either side says until one of them ends, and end the other in the same way."""
        pumps = [
            asyncio.create_task(self._requests.pump(client[0], server[1])),
            asyncio.create_task(self._pump_replies(server[0], client[1])),
        ]
        done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        was_broken = any(pump.exception() for pump in done)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for _, end in (client, server):
            if was_broken:
                reset(end.transport)
            else:
                end.close()  # sends what is still to be sent

    async def _pump_replies(self, from_server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        await self._replies.pump(from_server, to_client, before_each=self._cut_if_told)

    def _cut_if_told(self) -> None:
        if self._cuts_at_next_reply:
            self._cuts_at_next_reply = False
            self.cut()
            raise ConnectionResetError


class _Direction:
    """What happens to bytes on their way in one direction."""

    def __init__(self, chance: random.Random) -> None:
        self.delay_s = (0.0, 0.0)
        self.bytes_per_s = 0  # 0: as many as there are
        self.holds = asyncio.Event()  # set while there is something that is held up
        self._chance = chance
        self._passes = asyncio.Event()  # set unless everything is held up
        self._passes.set()

    def hold(self) -> None:
        self._passes.clear()

    def mend(self) -> None:
        self.delay_s = (0.0, 0.0)
        self.bytes_per_s = 0
        self.holds.clear()
        self._passes.set()

    async def pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, before_each: Callable[[], None] | None = None
    ) -> None:
        while data := await source.read(_CHUNK_BYTES):
            if before_each is not None:
                before_each()
            if not self._passes.is_set():
                self.holds.set()
                await self._passes.wait()
            if self.delay_s[1]:
                await asyncio.sleep(self._chance.uniform(*self.delay_s))
            await self._send(data, sink)

    async def _send(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        while self.bytes_per_s and data:
            drop = max(1, self.bytes_per_s // _DRIPS_PER_S)
            sink.write(data[:drop])
            data = data[drop:]
            await asyncio.sleep(drop / self.bytes_per_s)
        sink.write(data)
        await sink.drain()


def _bound_to(port: int) -> socket.socket:
    """Return a socket that does not listen, so that connections are refused, and nobody else can take the port."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections that have it too do not count
    place.bind((_HOST, port))
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return place


def reset(transport: asyncio.BaseTransport) -> None:
    """End a connection as a crash would: the other side is sent a reset, and nothing that was still to be sent."""
    connection: socket.socket = transport.get_extra_info("socket")
    if connection.fileno() != -1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ON_FOR_0_S)
    assert isinstance(transport, asyncio.WriteTransport)
    transport.abort()
