"""HTTP by hand, for requests that no client would send to their end."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx

_HANG_S = 30.0  # a limit for hanging, not an expectation


async def post_by_hand(url: str, headers: Mapping[str, str], pieces: Sequence[bytes] = ()) -> httpx.Response:
    """Send the head of a POST of JSON and then pieces of its body; return the answer, which must not wait for more."""
    address = urlsplit(url)
    head = {"Host": address.netloc, "Content-Type": "application/json", **headers}
    lines = [f"POST {address.path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    async with asyncio.timeout(_HANG_S):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            for data in ("\r\n".join(lines).encode(), *pieces):
                writer.write(data)
                await writer.drain()
            return await _read_answer(reader)
        finally:
            writer.close()


class Wire:
    """A connection on which a test says what it likes, when it likes; nothing waits longer than a hang."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Send `pieces`, one after the other."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def until_told_to_go_on(self) -> None:
        """Wait for the answer to `Expect: 100-continue`: what was sent so far has been read."""
        async with asyncio.timeout(_HANG_S):
            assert (await self._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")

    async def answer(self) -> httpx.Response:
        """Return the next answer."""
        async with asyncio.timeout(_HANG_S):
            return await _read_answer(self._reader)

    async def until_closed(self) -> bytes:
        """Return what comes until the other side closes."""
        async with asyncio.timeout(_HANG_S):
            return await self._reader.read()

    async def send_until_cut_off(self, piece: bytes) -> None:
        """Send `piece` again and again until the connection is there no more."""
        async with asyncio.timeout(_HANG_S):
            with suppress(ConnectionError):
                while True:
                    await self.send(piece)
                    await asyncio.sleep(0)


@asynccontextmanager
async def wire_to(url: str) -> AsyncGenerator[Wire]:
    """Open a connection to the server at `url`."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> httpx.Response:
    head = await reader.readuntil(b"\r\n\r\n")
    status, *fields = head.decode("ascii").strip().split("\r\n")
    headers = httpx.Headers(dict(field.split(": ", 1) for field in fields))
    body = await reader.readexactly(int(headers["Content-Length"]))
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)
