"""Starts the product's own processes for tests: real ones, on free ports, with their output at hand."""

import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import Self

from infra.local.errors import StartFailedError
from infra.local.ports import free_port
from infra.local.probes import http_fault, worker_fault
from infra.local.program import Fault, Program, RunningProgram, no_fault, start
from tests.environment import inherited_variables

_HANG_S = 60.0  # after this a process that was asked to end is killed, which fails the test


class ServerProcess:
    """A running `python -m <module>`."""

    def __init__(self, running: RunningProgram, port: int) -> None:
        self.port = port
        self._running = running
        self._end_was_seen = False

    @property
    def url(self) -> str:
        """Where it listens, if it does: `http://127.0.0.1:<port>`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with: None while it runs, negative when a signal ended it."""
        return self._running.exit_code

    def log_text(self) -> str:
        """Return what it has written to stdout and stderr so far."""
        return self._running.program.log.read_text(errors="replace")

    def log_lines(self) -> list[str]:
        """Return what it has written to stdout and stderr so far, a string for each line."""
        return self.log_text().splitlines()

    def send(self, signal_: Signals) -> None:
        """Send it a signal; a test that ends it this way awaits `wait` and judges the exit code."""
        self._running.send(signal_)

    async def until_it_serves(self) -> None:
        """Return when it serves.

        Raises:
            StartFailedError: It does not come to serve, and has been stopped; the message has its last words.

        """
        try:
            await self._running.until_it_serves()
        except StartFailedError:
            self._end_was_seen = True
            await self._running.stop()
            raise

    async def wait(self) -> int:
        """Return its exit code as soon as it has ended."""
        self._end_was_seen = True
        return await self._running.wait()

    async def kill(self) -> None:
        """End it by SIGKILL, as a crash would."""
        self.send(signal.SIGKILL)
        await self.wait()

    async def stop(self, *, expected_exit_code: int = 0) -> None:
        """End it by SIGTERM and assert its exit code, also when it had ended by itself before."""
        self._end_was_seen = True
        code = await self._running.stop()
        assert code == expected_exit_code, f"{self._running.program.name} ended with {code}:\n{self.log_text()}"

    async def stop_unless_end_was_seen(self) -> None:
        """Do what `stop` does, unless the test has already ended it and judged that."""
        if not self._end_was_seen:
            await self.stop()


class ProcessStarter:
    """Starts processes; at the end those still running are stopped, youngest first, and must end with code 0."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = AsyncExitStack()
        self._started = 0

    async def __call__(
        self, module: str, environment: Mapping[str, str], *arguments: str, health: str | None = "/health"
    ) -> ServerProcess:
        """Start `python -m <module> <arguments>` and return when it serves.

        A worker serves when it has announced itself in Redis, everything else when `GET <health>` answers 200.

        Args:
            module: For example `gateway`.
            environment: Its settings; APP_HOST and a free APP_PORT are added where missing. Nothing else of the tests'
                own environment reaches it, nor does a `.env` file.
            arguments: Further words of the command line.
            health: The path to ask; None returns as soon as the process is started.

        Raises:
            StartFailedError: It does not come to serve, and has been stopped; the message has its last words.

        """
        port = int(environment.get("APP_PORT") or free_port())
        self._started += 1
        name = f"{module}-{self._started}"
        program = Program(
            name=name,
            argv=(sys.executable, "-m", module, *arguments),
            environment=inherited_variables() | {"APP_HOST": "127.0.0.1", "APP_PORT": str(port), **environment},
            directory=self._directory,
            log=self._directory / f"{name}.log",
            fault=_fault_of(module, environment, f"http://127.0.0.1:{port}{health}") if health else no_fault,
            stop_timeout_s=_HANG_S,
        )
        process = ServerProcess(await start(program), port)
        self._stack.push_async_callback(process.stop_unless_end_was_seen)
        await process.until_it_serves()
        return process

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def _fault_of(module: str, environment: Mapping[str, str], url: str) -> Fault:
    if module == "worker":
        return lambda pid: worker_fault(environment["REDIS_URL"], pid)
    return lambda _: http_fault(url)
