"""A role in small: answers `GET /health`, ends on SIGTERM, and misbehaves on request.

`python -m tests.infra.local.stand_in [word]`; the words are those of `main`.
"""

import asyncio
import os
import signal
import sys


async def _serve(exit_code: int) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(_answer, os.environ["APP_HOST"], int(os.environ["APP_PORT"]))
    print("serving", flush=True)  # noqa: T201
    async with server:
        await ended.wait()
    sys.exit(exit_code)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    await writer.drain()
    writer.close()


def main() -> None:
    """Do as the command line says."""
    match sys.argv[1:]:
        case ["fail-at-start"]:
            sys.exit("JWT_SECRET is not set. Example: JWT_SECRET=…")
        case ["fail-at-end"]:
            asyncio.run(_serve(exit_code=3))
        case _:
            asyncio.run(_serve(exit_code=0))


if __name__ == "__main__":
    main()
