"""Keeps the programs of the stack running until it is told to stop, and then ends them, youngest first."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from infra.local.errors import StartFailedError
from infra.local.program import Program, RunningProgram, start
from infra.local.together import together

FIRST_PAUSE_S = 0.25  # before a program that ended is started again; doubled each time that does not last
LONGEST_PAUSE_S = 30.0
RUNS_WELL_AFTER_S = 20.0  # one that ran this long has earned a short pause again

Say = Callable[[str], None]


class Supervisor:
    """Programs that are kept running; leaving its context ends them."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._tiers: list[list[KeptProgram]] = []

    async def start(self, *programs: Program) -> None:
        """Start programs together and return when all of them serve; from then on one that ends is started again.

        Raises:
            StartFailedError: One of them did not come to serve.

        """
        tier = [KeptProgram(program, self._say) for program in programs]
        self._tiers.append(tier)
        await together(*(kept.start() for kept in tier))

    def kill(self) -> None:
        """End everything now, as if we had died ourselves; leaving the context then takes no time."""
        for tier in self._tiers:
            for kept in tier:
                kept.kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for tier in self._tiers:
            for kept in tier:
                kept.let_go()
        for tier in reversed(self._tiers):
            await asyncio.gather(*(kept.stop() for kept in tier))


class KeptProgram:
    """One program, started again whenever it ends."""

    def __init__(self, program: Program, say: Say) -> None:
        self.program = program
        self._say = say
        self._running: RunningProgram | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and return when it serves and is kept running.

        Raises:
            StartFailedError: It did not come to serve.

        """
        running = await self._begin()
        self._keeper = asyncio.create_task(self._keep(running), name=f"keep {self.program.name}")

    def let_go(self) -> None:
        """Start it no more, and say nothing of its end."""
        if self._keeper:
            self._keeper.cancel()

    async def stop(self) -> None:
        """End it for good."""
        self.let_go()
        if self._keeper:
            with suppress(asyncio.CancelledError):
                await self._keeper
        if self._running:
            await self._running.stop()

    def kill(self) -> None:
        """End it now, the way that it would end if we died."""
        self.let_go()
        if self._running:
            self._running.send(self.program.orphan_signal)

    async def _begin(self) -> RunningProgram:
        self._running = running = await start(self.program)
        await running.until_it_serves()
        return running

    async def _keep(self, running: RunningProgram) -> None:
        pause_s = FIRST_PAUSE_S / 2
        began_s = time.monotonic()
        end = await _end_of(running)
        while True:
            ran_well = time.monotonic() - began_s > RUNS_WELL_AFTER_S
            pause_s = FIRST_PAUSE_S if ran_well else min(2 * pause_s, LONGEST_PAUSE_S)
            self._say(f"{end}; starting it again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            began_s = time.monotonic()
            end = await self._serve_again()

    async def _serve_again(self) -> str:
        """Start it, let it serve, and return how that ended."""
        try:
            running = await self._begin()
        except StartFailedError as error:
            if self._running:
                await self._running.stop()
            return str(error)
        self._say(f"{self.program.name} is back")
        return await _end_of(running)


async def _end_of(running: RunningProgram) -> str:
    await running.wait()
    await running.program.bury(running.pid)
    return running.obituary()
