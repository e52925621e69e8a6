"""Runs checks of JavaScript clients, which stand in `javascript`, as processes of Node."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.environment import inherited_variables

HERE = Path(__file__).parent / "javascript"

_HANG_S = 60.0


class Node:
    """Clients in JavaScript that come in by one address and one key: `await node("openai", "whole", model=model)`.

    Args:
        program: Node itself.
        url: A gateway.
        key: An API key or an access token.

    """

    def __init__(self, program: str, *, url: str, key: str) -> None:
        self._program = program
        self._environment = {**inherited_variables(), "BASE_URL": url, "API_KEY": key}

    async def __call__(self, client: str, check: str, **given: object) -> Any:  # noqa: ANN401  any JSON
        """Run a check to its end, and return what came of it."""
        async with self.running(client, check, **given) as outcome:
            return outcome

    @asynccontextmanager
    async def running(self, client: str, check: str, **given: object) -> AsyncGenerator[Any]:
        """Run a check; inside the block its process still lives, with the connections that the client has kept."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            HERE / "check.mjs",
            client,
            check,
            msgspec.json.encode(given).decode(),
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(_HANG_S):
                line = await process.stdout.readline()
                assert line, f"{client}.mjs {check} failed: {(await process.stderr.read()).decode()}"
            yield msgspec.json.decode(line)
            process.stdin.close()
            async with asyncio.timeout(_HANG_S):
                complaints = await process.stderr.read()
                assert (await process.wait(), complaints) == (0, b"")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def run(self, program: str) -> str:
        """Run a program as it stands somewhere, and return what it has written."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            "--input-type=module",
            env=self._environment,
            cwd=HERE,  # where its packages are found
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_HANG_S):
                written, complaints = await process.communicate(program.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert (process.returncode, complaints) == (0, b""), complaints.decode()
        return written.decode()
