"""A load of requests against a site in which things break, and the verdict on what its clients saw."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from msgspec import Struct

from tests.faults import checker, transcript
from tests.faults.checker import SENT, TRANSCRIPT
from tests.faults.clients import Clients
from tests.faults.manners import Request
from tests.faults.site import Site
from tests.faults.transcript import JobTranscript, Recorder


class Verdict(Struct, frozen=True):
    """What came of a run."""

    jobs: list[JobTranscript]
    violations: list[str]


class Run:
    """A run under way."""

    def __init__(self, clients: Clients, asking: asyncio.TaskGroup) -> None:
        self.verdict: Verdict
        """There is one when the run has ended."""
        self._clients = clients
        self._asking = asking

    def ask(self, request: Request, *, gateway: str | None = None) -> asyncio.Task[None]:
        """Ask, at this gateway first or at any; the task ends with the answer."""
        return self._asking.create_task(self._clients.ask(request, gateway=gateway))


@asynccontextmanager
async def running(site: Site, directory: Path, chance: Random, *, excused: tuple[str, ...] = ()) -> AsyncGenerator[Run]:
    """Ask inside the block; leaving it waits for all answers and for the site to be whole and idle, and judges.

    Args:
        site: Whole and idle.
        directory: For the files of the run; made when there is none.
        chance: Of what clients do.
        excused: Codes with which any job may end.

    """
    directory.mkdir(parents=True)  # noqa: ASYNC240  a moment, and nothing is under way
    for storyteller in site.storytellers:
        storyteller.state.generations.clear()
    known_errors = len(site.errors())
    with Recorder.at(directory / TRANSCRIPT) as recorder:
        clients = Clients(site.tokens, site.doors, recorder, chance)
        try:
            async with asyncio.TaskGroup() as asking:
                run = Run(clients, asking)
                yield run
        finally:
            await clients.close()
    await site.until_whole()
    await site.until_idle()
    with Recorder.at(directory / SENT) as recorder:
        for storyteller in site.storytellers:
            for generation in storyteller.state.generations:
                recorder.write(generation)
    violations = [*map(str, checker.check(directory, excused=excused)), *site.errors()[known_errors:]]
    run.verdict = Verdict(transcript.read(directory / TRANSCRIPT), violations)
