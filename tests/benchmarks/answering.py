"""Asks whether a server answers, at a cost that does not blur how fast it started."""

import asyncio
from contextlib import suppress


async def http_fault(port: int, path: str) -> str | None:
    """Return None when `GET path` on a loopback port has status 200 now, or a few words of what is wrong."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        return str(error)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
        return None if status.startswith(b"HTTP/1.1 200 ") else f"it answers {status.decode(errors='replace').strip()}"
    except OSError as error:
        return str(error)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
