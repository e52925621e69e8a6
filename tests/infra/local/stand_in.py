"""A role in small: prints its process id, answers `GET /health`, ends on SIGTERM, and misbehaves on request.

`python -m tests.infra.local.stand_in [word …]`; the words are those of `main`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path


async def _serve(on_sigterm: Callable[[], object]) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_sigterm)
    server = await asyncio.start_server(_answer, os.environ["APP_HOST"], int(os.environ["APP_PORT"]))
    print(os.getpid(), flush=True)  # noqa: T201
    async with server:
        await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    await writer.drain()
    writer.close()


def _sign_off(book: str) -> None:
    """Write our name into `book` and end."""
    with Path(book).open("a") as file:
        file.write(f"{os.environ['NAME']}\n")
    os._exit(0)


def main() -> None:
    """Do as the command line says."""
    match sys.argv[1:]:
        case ["fail-at-start"]:
            sys.exit("JWT_SECRET is not set. Example: JWT_SECRET=…")
        case ["fail-without", file] if not Path(file).exists():
            sys.exit(f"{file} is missing")
        case ["fail-at-end"]:
            asyncio.run(_serve(lambda: os._exit(3)))
        case ["stay"]:
            asyncio.run(_serve(lambda: None))
        case ["sign-off-in", book]:
            asyncio.run(_serve(lambda: _sign_off(book)))
        case _:
            asyncio.run(_serve(lambda: os._exit(0)))


if __name__ == "__main__":
    main()
