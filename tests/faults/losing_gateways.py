"""The row in which gateways are killed, and clients read on at others."""

import asyncio

from tests.faults.intervals import resume_times_ms
from tests.faults.losing_workers import JOBS_AT_ONCE
from tests.faults.run import running
from tests.faults.trial import FOREIGN, Figure, Outcome, Trial, outcome


async def kill_gateways(trial: Trial, rounds: int) -> Outcome:
    """Kill a gateway while it streams, again and again; its clients read the rest elsewhere."""
    async with running(trial.site, trial.directory, trial.chance) as run:
        for round_ in range(rounds):
            trial.tell(f"gateway killed {round_} of {rounds} times")
            victim = trial.chance.choice(trial.site.gateways)
            door = victim.lines["clients"].url
            asked = [run.ask(trial.request(), gateway=door) for _ in range(JOBS_AT_ONCE)]
            asked += [run.ask(trial.request(manners=manners), gateway=door) for manners in FOREIGN]
            await trial.busy_worker()
            await victim.kill()
            await asyncio.gather(victim.start(), *asked)
    times = Figure("resumed after", resume_times_ms(run.verdict.jobs), bound_ms=3000)
    return outcome(f"{rounds} kills", run.verdict, times)
