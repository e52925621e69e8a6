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

from infra.local.leash import die_with_parent
from infra.local.unprivileged import Account

_PROBE_INTERVAL_S = 0.02
_LOG_TAIL_BYTES = 4096


class StartFailedError(Exception):
    """A program did not come to serve; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What there is to know about one process before it runs."""

    name: str
    """What messages and the log file call it, for example `gateway-1`."""
    argv: tuple[str, ...]
    """The command; its first word is a path or is found on PATH."""
    environment: Mapping[str, str]
    """Its whole environment."""
    log: Path
    """The file that its output is appended to."""
    answers: Callable[[], Awaitable[bool]]
    """Whether it serves now; asked again and again from its start on."""
    directory: Path = field(default_factory=Path.cwd)
    """Where it runs."""
    account: Account = field(default_factory=Account)
    """Whom it runs as."""
    stop_signal: Signals = signal.SIGTERM
    """Asks it to finish what it has and end."""
    orphan_signal: Signals = signal.SIGKILL
    """What the kernel sends it when we die."""
    start_timeout_s: float = 30.0
    """How long it may take until it answers."""
    stop_timeout_s: float = 10.0
    """How long it may take to end before it is killed."""
    inherited: tuple[int, ...] = ()
    """File descriptors that it keeps open for as long as it lives."""


class RunningProgram:
    """A started program; it dies with this process."""

    def __init__(self, program: Program, process: Process) -> None:
        self.program = program
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id, also the id of the process group that it leads."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with: None while it runs, negative when a signal ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Return its exit code as soon as it has ended."""
        return await self._process.wait()

    async def until_it_answers(self) -> None:
        """Return when it serves.

        Raises:
            StartFailedError: It ended before, or took longer than `start_timeout_s`.

        """
        try:
            async with asyncio.timeout(self.program.start_timeout_s):
                while not await self.program.answers():
                    if self.exit_code is not None:
                        raise StartFailedError(
                            f"{self.program.name} {describe_exit(self.exit_code)}{self._last_words()}"
                        )
                    await asyncio.sleep(_PROBE_INTERVAL_S)
        except TimeoutError:
            limit = f"{self.program.start_timeout_s:g} s"
            raise StartFailedError(f"{self.program.name} does not answer after {limit}{self._last_words()}") from None

    def send(self, signal_: Signals) -> None:
        """Send a signal to the process, or nothing when it has ended."""
        if self.exit_code is None:
            self._process.send_signal(signal_)

    async def stop(self) -> int:
        """Ask it to end, wait for it, kill what is left of its group, and return its exit code."""
        self.send(self.program.stop_signal)
        try:
            async with asyncio.timeout(self.program.stop_timeout_s):
                await self.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
        code = await self.wait()
        self._kill_group()
        return code

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):  # as it should be: it left nobody
            os.killpg(self.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        with self.program.log.open("rb") as log:
            log.seek(max(0, self.program.log.stat().st_size - _LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f": {last} (log: {self.program.log})"


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


def describe_exit(code: int) -> str:
    """Return words for an exit code: `ended with code 3`, `was killed by SIGKILL`."""
    return f"was ended by {Signals(-code).name}" if code < 0 else f"ended with code {code}"
