"""Rows in which workers are lost: killed, frozen beyond their lease, and restarted in order with the gateways."""

import asyncio
import signal

from tests.faults.intervals import takeover_gaps_ms
from tests.faults.manners import Manners
from tests.faults.run import running
from tests.faults.transcript import JobTranscript
from tests.faults.trial import FOREIGN, WORDS, Figure, Outcome, Trial, outcome

JOBS_AT_ONCE = 10
FROZEN_S = (1.0, 4.0)  # about the lease of 1.5 s, and far beyond it
LONGER_THAN_A_DRAIN = 5 * WORDS


async def kill_workers(trial: Trial, rounds: int) -> Outcome:
    """Kill a worker in the middle of its answers, again and again; each time all answers come to their end."""
    async with running(trial.site, trial.directory, trial.chance) as run:
        for round_ in range(rounds):
            trial.tell(f"worker killed {round_} of {rounds} times")
            asked = [run.ask(trial.request()) for _ in range(JOBS_AT_ONCE)]
            asked += [run.ask(trial.request(manners=manners)) for manners in FOREIGN]
            victim = await trial.busy_worker()
            await victim.kill()
            await asyncio.gather(victim.start(), *asked)
    gaps = Figure("gap", takeover_gaps_ms(run.verdict.jobs), bound_ms=3000)
    return outcome(f"{rounds} kills", run.verdict, gaps)


async def freeze_workers(trial: Trial, rounds: int) -> Outcome:
    """Stop a worker in the middle of its answers until others have them, and let it wake up while they write."""
    async with running(trial.site, trial.directory, trial.chance) as run:
        for round_ in range(rounds):
            trial.tell(f"worker frozen {round_} of {rounds} times")
            asked = [run.ask(trial.request(manners=Manners(replays=True))) for _ in range(JOBS_AT_ONCE)]
            asked += [run.ask(trial.request(manners=manners)) for manners in FOREIGN]
            victim = await trial.busy_worker()
            victim.send(signal.SIGSTOP)
            try:
                await asyncio.sleep(trial.chance.uniform(*FROZEN_S))
            finally:
                victim.send(signal.SIGCONT)
            await asyncio.gather(*asked)
    return outcome(f"{rounds} rounds", run.verdict)


async def restart_everything(trial: Trial, rounds: int) -> Outcome:
    """Stop each gateway and worker in turn, in order, and start it again, while clients ask on."""
    async with (
        running(trial.site, trial.directory, trial.chance) as run,
        trial.load(run, words=(WORDS, LONGER_THAN_A_DRAIN)),
    ):
        for round_ in range(rounds):
            for part in trial.site.parts:
                trial.tell(f"restarting {part.name}, {round_} of {rounds} rounds")
                await part.stop()
                await part.start()
    spent = [f"{job.mark}: attempt {attempt}" for job in run.verdict.jobs for attempt in _attempts(job) if attempt > 1]
    return outcome(f"{rounds} rounds of {len(trial.site.parts)} restarts", run.verdict, more=spent)


def _attempts(job: JobTranscript) -> list[int]:
    events = [event for connections in job.readers.values() for each in connections for event in each.events]
    return [event.json["attempt"] for event in events if event.type in ("started", "resumed")]
