"""HTTP by hand, for requests that no client would send to their end."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

from tests.end_to_end.client import HANG_S, Client


async def exchange(client: Client, path: str, headers: Mapping[str, str], pieces: Sequence[bytes]) -> httpx.Response:
    """Send the head of a POST and then pieces of its body until there is an answer; return that.

    The server must close the connection after it: it cannot know where the next request begins.
    """
    address = urlsplit(str(client.http.base_url))
    head = {
        "Host": address.netloc,
        "Authorization": f"Bearer {client.account.token}",
        "Content-Type": "application/json",
        **headers,
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    async with asyncio.timeout(HANG_S):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        answer = asyncio.create_task(reader.read())
        try:
            with suppress(ConnectionError):
                for data in ("\r\n".join(lines).encode(), *pieces):
                    writer.write(data)
                    await writer.drain()
            return _parse(await answer)
        finally:
            writer.close()


def _parse(data: bytes) -> httpx.Response:
    head, _, body = data.partition(b"\r\n\r\n")
    status, *fields = head.decode("ascii").split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)
