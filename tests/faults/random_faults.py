"""Faults of every kind at random places and times, out of a seed: the same seed makes the same plan."""

import asyncio
import signal
from collections import defaultdict
from random import Random

from msgspec import Struct

from tests.faults.manners import Manners, Request
from tests.faults.run import Run, running
from tests.faults.site import MODELS, USERS, Part, Site
from tests.faults.trial import FOREIGN, Outcome, Trial, outcome
from tests.surfaces import COMPATIBLE

PER_SECOND = 8.0  # requests
PAUSE_S = (0.2, 1.2)  # from one fault to the next
LASTS_S = (0.2, 3.0)  # a fault; some outlast the lease of 1.5 s
SLOW_S = (0.005, 0.05)  # whatever passes a slow line
DRIP_BYTES_PER_S = 4_000

OF_A_PROCESS = ("kill", "stop", "freeze")
OF_A_LINE = ("reset", "cut", "refuse", "hold requests", "hold replies", "hold both", "slow", "drip")
OF_REDIS = ("kill redis",)

EXCUSED = ("worker_lost", "upstream_interrupted", "upstream_unreachable", "upstream_timeout")
"""What random faults may bring about rightly: three workers lost over one job, an Ollama that is cut off."""


class Fault(Struct, frozen=True):
    """One thing that goes wrong."""

    at_s: float  # since the beginning
    lasts_s: float
    what: str
    part: str = ""  # whose process or line it is
    line: str = ""  # leads where


class Plan(Struct, frozen=True):
    """Everything that happens in a run."""

    faults: list[Fault]
    requests: list[tuple[float, Request]]  # each with its time in s since the beginning


def make_plan(seed: int, seconds: float, lines: dict[str, list[str]]) -> Plan:
    """Return the plan of a seed.

    Args:
        seed: Decides everything.
        seconds: How long new things happen.
        lines: Where the lines of each part lead, by the part's name.

    """
    chance = Random(seed)
    faults: list[Fault] = []
    at_s = chance.uniform(*PAUSE_S)
    while at_s < seconds:
        faults.append(_fault(chance, at_s, lines))
        at_s += chance.uniform(*PAUSE_S)
    times = sorted(chance.uniform(0, seconds) for _ in range(round(seconds * PER_SECOND)))
    return Plan(faults, [(time, _request(chance)) for time in times])


async def break_at_random(trial: Trial, seed: int, seconds: float) -> Outcome:
    """Play the plan of a seed."""
    locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by part; Redis is none, and has its own
    plan = make_plan(seed, seconds, {part.name: sorted(part.lines) for part in trial.site.parts})
    async with (
        running(trial.site, trial.directory, trial.chance, excused=EXCUSED) as run,
        asyncio.TaskGroup() as playing,
    ):
        for fault in plan.faults:
            playing.create_task(_play(trial, fault, locks[fault.part]))
        for at_s, request in plan.requests:
            playing.create_task(_ask(run, at_s, request))
    return outcome(f"seed {seed}, {len(plan.faults)} faults", run.verdict)


def _fault(chance: Random, at_s: float, lines: dict[str, list[str]]) -> Fault:
    lasts_s = chance.uniform(*LASTS_S)
    what = chance.choice((*OF_A_PROCESS, *OF_A_LINE, *OF_REDIS))
    if what in OF_REDIS:
        return Fault(at_s, lasts_s, what)
    part = chance.choice(sorted(lines))
    line = chance.choice(lines[part]) if what in OF_A_LINE else ""
    return Fault(at_s, lasts_s, what, part, line)


def _request(chance: Random) -> Request:
    manners = chance.choice(
        (
            Manners(),
            Manners(replays=True),
            Manners(is_whole=True),
            Manners(is_whole=True, has_key=True),
            Manners(has_key=True),
            Manners(is_durable=True),
            Manners(readers=3),
            Manners(breaks_off_after=(chance.randint(1, 20), chance.randint(1, 5))),
            Manners(leaves_after=chance.randint(1, 20)),
            Manners(cancels_after=chance.randint(1, 20)),
            *FOREIGN,
            *(Manners(surface=surface.name, leaves_after=chance.randint(1, 20)) for surface in COMPATIBLE),
        )
    )
    return Request(
        user=chance.randrange(USERS),
        model=chance.choice(MODELS),
        words=chance.randint(1, 60),
        pace_ms=chance.choice((0.0, 10.0, 30.0)),
        manners=manners,
    )


async def _ask(run: Run, at_s: float, request: Request) -> None:
    await asyncio.sleep(at_s)
    await run.ask(request)


async def _play(trial: Trial, fault: Fault, is_broken: asyncio.Lock) -> None:
    await asyncio.sleep(fault.at_s)
    if is_broken.locked():  # one fault at a time: what has just been started again cannot be lost
        return
    async with is_broken:
        trial.tell(f"{fault.what} {fault.part} {fault.line}, for {fault.lasts_s:.1f} s")
        if fault.what in OF_REDIS:
            await _kill_redis(trial.site, fault.lasts_s)
            return
        (part,) = (part for part in trial.site.parts if part.name == fault.part)
        await (_lose_process(part, fault) if fault.what in OF_A_PROCESS else _break_line(part, fault))


async def _kill_redis(site: Site, lasts_s: float) -> None:
    await site.valkey.kill()
    await asyncio.sleep(lasts_s)
    await site.valkey.start()


async def _lose_process(part: Part, fault: Fault) -> None:
    if fault.what == "freeze":
        part.send(signal.SIGSTOP)
        await asyncio.sleep(fault.lasts_s)
        part.send(signal.SIGCONT)
        return
    await (part.kill() if fault.what == "kill" else part.stop())
    await asyncio.sleep(fault.lasts_s)
    await part.start()


async def _break_line(part: Part, fault: Fault) -> None:
    line = part.lines[fault.line]
    match fault.what:
        case "reset":
            line.reset()
        case "cut":
            line.cut()
        case "refuse":
            line.refuse()
        case "hold requests":
            line.hold_requests()
        case "hold replies":
            line.hold_replies()
        case "hold both":
            line.freeze()
        case "slow":
            line.delay(*SLOW_S)
        case _:
            line.drip(DRIP_BYTES_PER_S)
    await asyncio.sleep(fault.lasts_s)
    line.mend()
