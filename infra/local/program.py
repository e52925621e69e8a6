"""A process of the stack: how it is started, known to serve, and stopped."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

import msgspec

from infra.local.errors import StartFailedError
from infra.local.leash import die_with_parent
from infra.local.unprivileged import Account

_PROBE_INTERVAL_S = 0.02
_LOG_TAIL_BYTES = 4096


Fault = Callable[[int], Awaitable[str | None]]
"""Is asked with a process id, and answers None when that serves, or words for what is missing."""


async def no_fault(_pid: int) -> None:
    """Know nothing that a program should do but run."""


async def no_burial(_pid: int) -> None:
    """Leave nothing behind that somebody would have to see to."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What there is to know about one process before it runs."""

    name: str
    """What messages and the log file call it, for example `gateway-1`."""
    argv: tuple[str, ...]
    """The command; its first word is a path or is found on PATH."""
    environment: Mapping[str, str] = field(repr=False)
    """Its whole environment, secrets included."""
    log: Path
    """The file that its output is appended to."""
    fault: Fault = no_fault
    """Asked again and again from its start on, until it serves."""
    directory: Path = field(default_factory=Path.cwd)
    """Where it runs."""
    account: Account = field(default_factory=Account)
    """Whom it runs as."""
    stop_signal: Signals = signal.SIGTERM
    """Asks it to finish what it has and end."""
    orphan_signal: Signals = signal.SIGKILL
    """What the kernel sends it when we die."""
    start_timeout_s: float = 60.0
    """How long it may take until it answers."""
    stop_timeout_s: float = 10.0
    """How long it may take to end before it is killed."""
    bury: Callable[[int], Awaitable[None]] = no_burial
    """Called with its process id when it has ended by itself."""
    inherited: tuple[int, ...] = ()
    """File descriptors that it keeps open for as long as it lives."""


class RunningProgram:
    """A started program; it dies with this process."""

    def __init__(self, program: Program, process: Process) -> None:
        self.program = program
        self._process = process
        self._is_buried = False

    @property
    def pid(self) -> int:
        """Its process id, also the id of the process group that it leads."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with: None while it runs, negative when a signal ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Return its exit code as soon as it has ended; processes that it left in its group are killed."""
        code = await self._process.wait()
        if not self._is_buried:
            self._is_buried = True  # the group's id may belong to somebody else soon
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return code

    async def until_it_serves(self) -> None:
        """Return when it serves.

        Raises:
            StartFailedError: It ended before, or took longer than `start_timeout_s`; it is not stopped then.

        """
        fault = None
        try:
            async with asyncio.timeout(self.program.start_timeout_s):
                while self.exit_code is None and (fault := await self.program.fault(self.pid)):  # noqa: ASYNC110
                    await asyncio.sleep(_PROBE_INTERVAL_S)
        except TimeoutError:
            raise StartFailedError(f"{self.program.name} does not come up: {fault} (log: {self.program.log})") from None
        if self.exit_code is not None:
            raise StartFailedError(self.obituary())

    def obituary(self) -> str:
        """Return one line on how it ended: `gateway-1 ended with code 2: JWT_SECRET is not set (log: …)`."""
        code = self._process.returncode or 0
        # What ends by a signal has not said why.
        end = f"was ended by {Signals(-code).name}, its log ends with" if code < 0 else f"ended with code {code}"
        return f"{self.program.name} {end}: {_last_line(self.program.log)} (log: {self.program.log})"

    def send(self, signal_: Signals) -> None:
        """Send a signal to the process, or nothing when it has ended."""
        if self.exit_code is None:
            self._process.send_signal(signal_)

    async def stop(self) -> int:
        """Ask it to end, kill it when it does not, and return its exit code."""
        self.send(self.program.stop_signal)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.program.stop_timeout_s):
                return await self.wait()
        self.send(signal.SIGKILL)
        return await self.wait()


async def start(program: Program) -> RunningProgram:
    """Start `program` in a session of its own, so that the terminal's Ctrl-C reaches the supervisor alone.

    Raises:
        StartFailedError: There is no such command, or it must not be run.

    """
    try:
        with program.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *program.argv,
                cwd=program.directory,
                env=program.environment,
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                start_new_session=True,
                pass_fds=program.inherited,
                preexec_fn=die_with_parent(program.orphan_signal),
                **program.account.as_popen_arguments(),
            )
    except OSError as error:
        raise StartFailedError(f"{program.name} cannot be started: {error.strerror}: {program.argv[0]}") from None
    return RunningProgram(program, process)


async def run(program: Program) -> None:
    """Start `program` and return when it has done its work.

    Raises:
        StartFailedError: It cannot be started, or failed.

    """
    running = await start(program)
    try:
        if await running.wait() != 0:
            raise StartFailedError(running.obituary())
    finally:
        await running.stop()


def _last_line(log: Path) -> str:
    with log.open("rb") as text:
        text.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
        lines = text.read().decode(errors="replace").split("\n")
    said = [_Line.of(line.strip()) for line in lines if line.strip()]
    last = [*said, *(line for line in said if line.is_grave)][-1:]
    # Plain words come last only when the log is beyond use: what an interpreter says as it dies.
    if said and not said[-1].is_json:
        last = said[-1:]
    return last[0].words if last else "it said nothing"


@dataclass(frozen=True)
class _Line:
    """A line of a log, in words for a person."""

    words: str
    is_json: bool = False
    is_grave: bool = False

    @classmethod
    def of(cls, text: str) -> "_Line":
        try:
            entry = msgspec.json.decode(text, type=dict[str, Any])
            event = str(entry["event"])
        except (msgspec.DecodeError, KeyError):  # not one of ours
            return cls(text)
        causes = [str(entry[name]).strip().splitlines()[-1:] for name in ("error", "exception") if entry.get(name)]
        words = ": ".join([event, *(line for lines in causes for line in lines)])
        return cls(words, is_json=True, is_grave=entry.get("level") in ("WARNING", "ERROR", "CRITICAL"))
