"""The row in which Ollama fails in every way: each job ends as it should, and other models notice nothing."""

import asyncio

from tests.faults.manners import Manners, Request
from tests.faults.run import Run, running
from tests.faults.site import MODELS, SLOTS
from tests.faults.storyteller import Misfortune
from tests.faults.trial import TOLD, WORDS, Outcome, Trial, outcome
from tests.surfaces import COMPATIBLE

FAILING, HEALTHY = MODELS
DRIP_MS = 300.0
ALWAYS = 10  # generations, more than any job has
_INTERRUPTED = ("upstream_interrupted", "upstream_unreachable")
_FAST_MS = 5.0

CODES: dict[str, tuple[str, ...]] = {
    "reset": _INTERRUPTED,
    "closed": _INTERRUPTED,
    "no closing line": _INTERRUPTED,
    "garbage": _INTERRUPTED,
    "half a line": _INTERRUPTED,
    "fails": ("upstream_error",),
    "busy": ("upstream_busy", "upstream_error"),  # after the first word there is no status to tell the two apart
    "hangs": ("upstream_timeout",),
}
"""With which a job may end whose model has this misfortune: the code that says it, whenever it happens."""


async def fail_ollama(trial: Trial, rounds: int) -> Outcome:
    """Have a model fail in each way, at the beginning and in the middle, once and for ever; then use all its slots."""
    async with running(trial.site, trial.directory, trial.chance) as run:
        for round_ in range(rounds):
            for place, what in enumerate(CODES):
                trial.tell(f"{what}: {place} of {len(CODES)} faults, {round_} of {rounds} rounds")
                await asyncio.gather(
                    *(
                        _ask(run, FAILING, misfortunes=(Misfortune(what, after),) * times, excused=CODES[what])
                        for after in (0, TOLD)
                        for times in (1, ALWAYS)
                    ),
                    *(
                        _ask(run, FAILING, misfortunes=(Misfortune(what, after),), surface=surface.name)
                        for after in (0, TOLD)
                        for surface in COMPATIBLE
                    ),
                    _ask(run, HEALTHY),
                )
            await _ask(run, FAILING, words=TOLD, pace_ms=DRIP_MS)
            await _end_and_come_back(trial, run)
            await asyncio.gather(*(_ask(run, FAILING, words=TOLD, is_whole=True) for _ in range(2 * SLOTS)))
    return outcome(f"{rounds} x {len(CODES)} faults", run.verdict)


async def _end_and_come_back(trial: Trial, run: Run) -> None:
    """Have one Ollama end in the middle of its answers, as when memory runs out, and start again."""
    asked = [_ask(run, model, excused=_INTERRUPTED) for model in MODELS]
    worker = await trial.busy_worker()
    worker.lines["ollama"].refuse()
    await asyncio.gather(*asked)
    await trial.site.until_whole()


def _ask(
    run: Run,
    model: str,
    *,
    words: int = WORDS,
    pace_ms: float = _FAST_MS,
    misfortunes: tuple[Misfortune, ...] = (),
    excused: tuple[str, ...] = (),
    is_whole: bool = False,
    surface: str = "native",
) -> asyncio.Task[None]:
    manners = Manners(is_whole=is_whole, surface=surface)
    return run.ask(
        Request(
            user=0,
            model=model,
            words=words,
            pace_ms=pace_ms,
            manners=manners,
            misfortunes=misfortunes,
            excused=excused,
        )
    )
