"""The row in which two tenants have their requests cancelled in every way, and nothing of one may reach the other."""

import asyncio

from tests.faults.manners import Manners, Request
from tests.faults.run import running
from tests.faults.site import MODELS
from tests.faults.trial import Outcome, Trial, outcome
from tests.surfaces import COMPATIBLE

CLIENTS = 24
TENANTS = 2
WORDS = 12


async def cancel_everything(trial: Trial, rounds: int) -> Outcome:
    """Have two tenants ask so many things, and leave, break off or cancel all but a few of them."""
    left = iter(range(rounds))

    async with running(trial.site, trial.directory, trial.chance) as run:

        async def ask_on() -> None:
            for number in left:
                trial.tell(f"{number:,} of {rounds:,} requests")
                await run.ask(_request(trial))

        async with asyncio.TaskGroup() as asking:
            for _ in range(CLIENTS):
                asking.create_task(ask_on())
    return outcome(f"{rounds:,} requests of {TENANTS} tenants", run.verdict)


def _request(trial: Trial) -> Request:
    after = trial.chance.randint(1, WORDS)
    manners = trial.chance.choice(
        (
            Manners(leaves_after=after),
            Manners(cancels_after=after),
            Manners(breaks_off_after=(after,), replays=True),
            *(Manners(surface=surface.name, leaves_after=after) for surface in COMPATIBLE),
        )
    )
    return Request(
        user=trial.chance.randrange(TENANTS),
        model=trial.chance.choice(MODELS),
        words=WORDS,
        pace_ms=trial.chance.choice((0.0, 5.0)),
        manners=manners,
    )
