"""HTTP by hand, for requests that no client would send to their end."""

import asyncio
from collections.abc import Mapping, Sequence
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


async def _read_answer(reader: asyncio.StreamReader) -> httpx.Response:
    head = await reader.readuntil(b"\r\n\r\n")
    status, *fields = head.decode("ascii").strip().split("\r\n")
    headers = httpx.Headers(dict(field.split(": ", 1) for field in fields))
    body = await reader.readexactly(int(headers["Content-Length"]))
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)
