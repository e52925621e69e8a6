"""Rows in which the stores are lost: Redis killed, cut off and emptied, PostgreSQL stopped."""

import asyncio
from collections.abc import Iterable
from itertools import chain

from tests.faults.manners import Manners, Request
from tests.faults.run import Run, running
from tests.faults.site import MODELS, USERS
from tests.faults.transcript import JobTranscript, now_ms
from tests.faults.trial import ATTACHED, FOREIGN, Figure, Outcome, Trial, outcome

AWAY_S = (0.2, 1.5)
JOBS_AT_ONCE = 8


async def lose_redis(trial: Trial, rounds: int) -> Outcome:
    """Kill Redis and start it again, or cut everybody off from it, while clients ask on."""
    back_ms: list[float] = []
    dead: list[str] = []
    async with running(trial.site, trial.directory, trial.chance) as run, trial.load(run):
        for round_ in range(rounds):
            trial.tell(f"Redis lost {round_} of {rounds} times")
            await trial.busy_worker()
            away_s = trial.chance.uniform(*AWAY_S)
            await (_kill_redis(trial, away_s) if round_ % 2 == 0 else _cut_redis(trial, away_s))
            back_ms.append(await _time_until_service(trial, run))
            dead += [f"{part.name} has ended" for part in trial.site.parts if not part.runs]
    return outcome(f"{rounds} losses", run.verdict, Figure("back after", back_ms, bound_ms=5000), more=dead)


async def empty_redis(trial: Trial, rounds: int) -> Outcome:
    """Empty Redis in the middle of answers: every job comes back, those that clients are attached to and the others."""
    emptied_ms: list[float] = []
    async with running(trial.site, trial.directory, trial.chance) as run:
        for round_ in range(rounds):
            trial.tell(f"Redis emptied {round_} of {rounds} times")
            asked = [run.ask(trial.request()) for _ in range(JOBS_AT_ONCE)]
            asked += [run.ask(trial.request(manners=Manners(is_durable=True))) for _ in range(JOBS_AT_ONCE)]
            asked += [run.ask(trial.request(manners=manners)) for manners in FOREIGN]
            await trial.until_begun(2 * JOBS_AT_ONCE + len(FOREIGN))
            emptied_ms.append(now_ms())
            await trial.site.redis.flushall()
            await asyncio.gather(*asked)
            await trial.site.until_whole()
    kept = [kept for job in run.verdict.jobs for kept in job.kept if kept.job_id]
    times = [each.closed_ms - max(ms for ms in emptied_ms if ms < each.closed_ms) for each in kept]
    return outcome(f"{rounds} times", run.verdict, Figure("accepted jobs ended after", times, bound_ms=10_000))


async def lose_postgresql(trial: Trial, rounds: int) -> Outcome:
    """Stop PostgreSQL while clients ask on: chats are answered all the time, and afterwards every job has its row."""
    away_ms: list[tuple[float, float]] = []
    async with running(trial.site, trial.directory, trial.chance) as run:
        await _make_everybody_known(trial, run)
        async with trial.load(run, manners=(*ATTACHED, *FOREIGN)):
            for round_ in range(rounds):
                trial.tell(f"PostgreSQL stopped {round_} of {rounds} times")
                began_ms = now_ms()
                async with trial.site.without_postgresql():
                    for _ in range(JOBS_AT_ONCE):  # refused until it is back: a 202 could not be kept
                        run.ask(trial.request(manners=Manners(is_durable=True)))
                    await asyncio.sleep(trial.outage_s)
                    away_ms.append((began_ms, now_ms()))
                await _time_until_service(trial, run)
    missing = await trial.site.missing_rows(_answered(run.verdict.jobs))
    wrong = [f"no row of job {id_}" for id_ in missing]
    wrong += [f"nobody was answered in outage {number}" for number, away in enumerate(away_ms) if not _taken(run, away)]
    taken = sum(_taken(run, away) for away in away_ms)
    return outcome(f"{rounds} x {trial.outage_s:g} s, {taken:,} jobs taken meanwhile", run.verdict, more=wrong)


async def _kill_redis(trial: Trial, away_s: float) -> None:
    await trial.site.valkey.kill()
    await asyncio.sleep(away_s)
    await trial.site.valkey.start()


async def _cut_redis(trial: Trial, away_s: float) -> None:
    lines = [part.lines["redis"] for part in trial.site.parts]
    for line in lines:
        line.cut()
    await asyncio.sleep(away_s)
    for line in lines:
        line.mend()


async def _make_everybody_known(trial: Trial, run: Run) -> None:
    """Have each user ask at each gateway: who is known goes on without PostgreSQL."""
    for gateway in trial.site.doors():
        for user in range(USERS):
            await run.ask(Request(user=user, model=MODELS[0], words=1, pace_ms=0), gateway=gateway)


def _taken(run: Run, between_ms: tuple[float, float]) -> int:
    """Return how many jobs were asked for in a span of time, and came to their end."""
    began_ms, ended_ms = between_ms
    exchanges = [each for job in run.verdict.jobs for each in (*job.answers, *chain(*job.readers.values()))]
    return sum(each.status == 200 and began_ms <= each.opened_ms < ended_ms for each in exchanges)


async def _time_until_service(trial: Trial, run: Run) -> float:
    began_ms = now_ms()
    await run.ask(trial.request(words=1, manners=Manners(is_whole=True)))
    return now_ms() - began_ms


def _answered(jobs: Iterable[JobTranscript]) -> list[str]:
    """Return the ids of the jobs whose end a client has seen."""
    connections = [each for job in jobs for reader in job.readers.values() for each in reader]
    return sorted({each.job_id for each in connections if each.job_id and any(event.is_end for event in each.events)})
