"""What the rows of the reliability table have in common: where they run, how big they are, and what came of them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from msgspec import Struct

from tests.faults.intervals import percentile
from tests.faults.manners import Manners, Request
from tests.faults.run import Run, Verdict
from tests.faults.site import MODELS, USERS, Part, Site
from tests.faults.storyteller import Storyteller
from tests.surfaces import COMPATIBLE
from tests.waiting import wait_until

WORDS = 30
PACE_MS = 20.0
LOAD = 6  # clients at once
ATTACHED = (
    Manners(),
    Manners(has_key=True),
    Manners(is_whole=True),
    Manners(is_whole=True, has_key=True),
)
FOREIGN = tuple(Manners(surface=surface.name, has_key=has_key) for surface in COMPATIBLE for has_key in (False, True))
IN_ALL_WAYS = (*ATTACHED, *FOREIGN, Manners(is_durable=True))
TOLD = 3  # words that a client has when something is said to happen in the middle of its answer


class Figure(Struct, frozen=True):
    """How long something took, over all the times that it happened."""

    name: str
    values_ms: list[float]
    bound_ms: float | None = None  # for the 99th percentile

    @property
    def is_kept(self) -> bool:
        """Whether the bound was."""
        return self.bound_ms is None or percentile(self.values_ms, 0.99) <= self.bound_ms

    def __str__(self) -> str:
        p50, p99, most = (percentile(self.values_ms, share) / 1000 for share in (0.5, 0.99, 1.0))
        return f"{self.name} p50 {p50:.2f} s, p99 {p99:.2f} s, max {most:.2f} s ({len(self.values_ms)} times)"


class Outcome(Struct, frozen=True):
    """What came of a row."""

    size: str  # how often was done what
    violations: list[str]
    figures: list[Figure] = []

    @property
    def is_kept(self) -> bool:
        """Whether the promise was, its bounds included."""
        return not self.violations and all(figure.is_kept for figure in self.figures)


class Trial:
    """What a row is run with.

    Args:
        site: Whole and idle, and left so.
        directory: For the files of its runs.
        chance: Of all that is left to chance.
        tell: Shows progress.
        outage_s: How long PostgreSQL is away.

    """

    def __init__(
        self, site: Site, directory: Path, chance: Random, tell: Callable[[str], None], *, outage_s: float
    ) -> None:
        self.site = site
        self.directory = directory
        self.chance = chance
        self.tell = tell
        self.outage_s = outage_s

    def request(
        self,
        *,
        words: int = WORDS,
        pace_ms: float = PACE_MS,
        manners: Manners | None = None,
        excused: tuple[str, ...] = (),
    ) -> Request:
        """Return a request of anybody for any model."""
        return Request(
            user=self.chance.randrange(USERS),
            model=self.chance.choice(MODELS),
            words=words,
            pace_ms=pace_ms,
            manners=manners or Manners(),
            excused=excused,
        )

    async def until_begun(self, jobs: int) -> None:
        """Return when so many jobs are being answered at once."""

        def have_begun() -> bool:
            return sum(len(each.state.ended_as("active")) for each in self.site.storytellers) >= jobs

        await wait_until(have_begun, description=f"{jobs} jobs are being answered")

    async def busy_worker(self) -> Part:
        """Return a worker that is in the middle of an answer, as soon as there is one."""

        def busy() -> list[Part]:
            pairs = zip(self.site.workers, self.site.storytellers, strict=True)
            return [worker for worker, storyteller in pairs if _is_in_the_middle(storyteller)]

        return self.chance.choice(await wait_until(busy, description="a worker is in the middle of an answer"))

    @asynccontextmanager
    async def load(
        self,
        run: Run,
        *,
        clients: int = LOAD,
        words: Sequence[int] = (WORDS,),
        manners: Sequence[Manners] = IN_ALL_WAYS,
    ) -> AsyncGenerator[None]:
        """Have so many clients ask one thing after the other inside the block."""
        is_over = asyncio.Event()

        async def ask_on() -> None:
            while not is_over.is_set():
                await run.ask(self.request(words=self.chance.choice(words), manners=self.chance.choice(manners)))

        async with asyncio.TaskGroup() as asking:
            for _ in range(clients):
                asking.create_task(ask_on())
            try:
                yield
            finally:
                is_over.set()


def _is_in_the_middle(storyteller: Storyteller) -> bool:
    return any(each.outcome == "active" and each.tokens_sent >= TOLD for each in storyteller.state.generations)


def outcome(size: str, verdict: Verdict, *figures: Figure, more: Sequence[str] = ()) -> Outcome:
    """Return the outcome of a run, with what else was found wrong."""
    return Outcome(f"{size}, {len(verdict.jobs):,} jobs", [*verdict.violations, *more], list(figures))
