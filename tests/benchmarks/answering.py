"""Asks whether a server answers, at a cost that does not blur how fast it started."""

import asyncio
from contextlib import suppress


async def answers_http(port: int, path: str) -> bool:
    """Tell whether `GET path` on a loopback port has status 200 now."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        return (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
