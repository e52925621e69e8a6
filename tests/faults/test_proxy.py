"""The proxy breaks a line in the way it is told, and no other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from random import Random

import pytest

from infra.local.ports import free_port
from tests.faults.proxy import FaultProxy
from tests.waiting import wait_until

HANG_S = 20.0  # a limit for hanging, not an expectation
LONG = bytes(range(256)) * 2000


class Line:
    """A connection through the proxy to a server that sends back what it hears."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def echo(self, data: bytes) -> bytes:
        self.writer.write(data)
        async with asyncio.timeout(HANG_S):
            return await self.reader.readexactly(len(data))


Connect = Callable[[FaultProxy], Awaitable[Line]]


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    port = free_port()
    async with (
        await asyncio.start_server(echo, "127.0.0.1", port),
        FaultProxy(f"echo://me:secret@127.0.0.1:{port}/path", chance=Random(1)) as proxy,
    ):
        yield proxy


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    lines: list[Line] = []

    async def connect(proxy: FaultProxy) -> Line:
        port = int(proxy.url.rpartition(":")[2].partition("/")[0])
        lines.append(Line(*await asyncio.open_connection("127.0.0.1", port)))
        return lines[-1]

    yield connect
    for line in lines:
        line.writer.close()
        with suppress(ConnectionError):
            await line.writer.wait_closed()


@pytest.fixture
async def line(proxy: FaultProxy, connect: Connect) -> Line:
    return await connect(proxy)


async def is_mended(proxy: FaultProxy, connect: Connect) -> bool:
    with suppress(ConnectionError):
        return await (await connect(proxy)).echo(b"y") == b"y"
    return False


async def test_it_passes_everything(proxy: FaultProxy, line: Line) -> None:
    assert proxy.url.startswith("echo://me:secret@127.0.0.1:")
    assert proxy.url.endswith("/path")
    assert await line.echo(LONG) == LONG
    line.writer.write_eof()
    async with asyncio.timeout(HANG_S):
        assert await line.reader.read() == b""


async def test_a_reset_is_one(proxy: FaultProxy, line: Line, connect: Connect) -> None:
    await line.echo(b"x")
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await line.echo(b"x")
    assert await is_mended(proxy, connect)


async def test_while_it_is_cut_new_connections_are_reset(proxy: FaultProxy, line: Line, connect: Connect) -> None:
    await line.echo(b"x")
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await (await connect(proxy)).echo(b"x")
    proxy.mend()
    assert await is_mended(proxy, connect)


async def test_while_it_refuses_nobody_listens(proxy: FaultProxy, connect: Connect) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    proxy.mend()
    await wait_until(lambda: is_mended(proxy, connect), description="it listens again")


async def test_what_is_frozen_comes_later(proxy: FaultProxy, line: Line, connect: Connect) -> None:
    proxy.hold_replies()
    echo = asyncio.create_task(line.echo(b"x"))
    await proxy.until_held()
    assert not echo.done()
    proxy.mend()
    assert await echo == b"x"

    proxy.freeze()
    echo = asyncio.create_task((await connect(proxy)).echo(b"y"))
    proxy.mend()
    assert await echo == b"y"


async def test_what_is_slow_comes_whole(proxy: FaultProxy, line: Line) -> None:
    proxy.delay(0.001, 0.002)
    assert await line.echo(LONG) == LONG
    proxy.mend()
    proxy.drip(len(LONG) * 20)
    assert await line.echo(LONG) == LONG


async def test_a_server_that_is_not_there_is_a_reset(connect: Connect) -> None:
    async with FaultProxy(f"http://127.0.0.1:{free_port()}") as proxy:
        with pytest.raises(ConnectionResetError):
            await (await connect(proxy)).echo(b"x")
