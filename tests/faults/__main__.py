"""Tries every row of the reliability table at full size, then random faults, and prints what was kept.

Exits with 1 when a promise was broken, its bounds included. The transcripts are kept then; `python -m
tests.faults.checker DIRECTORY` judges them again.
"""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from msgspec import Struct

from infra.local.errors import StartFailedError
from infra.local.ports import free_port
from infra.local.postgresql import postgresql
from infra.local.unprivileged import account_for_servers
from tests.benchmarks.markdown import aligned
from tests.faults.random_faults import break_at_random
from tests.faults.rows import ROWS
from tests.faults.site import Server, Site
from tests.faults.soak import soak
from tests.faults.trial import Outcome, Trial

RANDOM, SOAK = "random", "soak"
OUTAGE_S = 30.0
_TELL_EVERY_S = 5.0
_SHOWN = 20  # violations of a row


class _Options(argparse.Namespace):
    only: list[str]
    scale: float
    seed: int
    minutes: float


class _Attempt(Struct, frozen=True):
    """A row to be tried in this run."""

    name: str
    promise: str
    bound: str
    run: Callable[[Trial], Awaitable[Outcome]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try and print; return the exit code."""
    options = _parser().parse_args(arguments, _Options())
    directory = Path(tempfile.mkdtemp(prefix="deepersensor-chaos-"))
    directory.chmod(0o711)  # PostgreSQL runs as another user when we are root
    try:
        outcomes = asyncio.run(_try_all(directory, _attempts(options), options))
    except StartFailedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(_table(outcomes) + "\n")
    if all(outcome.is_kept for _, outcome in outcomes):
        shutil.rmtree(directory, ignore_errors=True)
        return 0
    sys.stdout.write("\n".join(["", *_complaints(outcomes, options), f"transcripts and logs: {directory}", ""]))
    return 1


def _parser() -> argparse.ArgumentParser:
    names = [*(row.name for row in ROWS), RANDOM, SOAK]
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names[:-1], help="try these rows")
    parser.add_argument("--scale", type=float, default=1.0, help="of the full size, 0.1 for a tenth")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of all that is left to chance")
    parser.add_argument("--minutes", type=float, default=5.0, help="of random faults, or of soak (%(default)s)")
    return parser


def _attempts(options: _Options) -> list[_Attempt]:
    attempts = [
        _Attempt(row.name, row.promise, row.bound, lambda trial, row=row: row.run(trial, row.times(options.scale)))
        for row in ROWS
    ]
    attempts += [
        _Attempt(
            RANDOM,
            "random faults of every kind between any two parts",
            "every transcript exact",
            lambda trial: break_at_random(trial, options.seed, options.minutes * 60 * options.scale),
        ),
        _Attempt(
            SOAK,
            "soak at an even load",
            "memory, descriptors, keys and connections flat",
            lambda trial: soak(trial, options.minutes * options.scale),
        ),
    ]
    return [attempt for attempt in attempts if attempt.name in options.only]


async def _try_all(directory: Path, attempts: Sequence[_Attempt], options: _Options) -> list[tuple[_Attempt, Outcome]]:
    outcomes: list[tuple[_Attempt, Outcome]] = []
    for attempt in attempts:
        place = directory / attempt.name
        place.mkdir(mode=0o711)
        async with _own_site(place, options.seed) as site:
            began_s = time.monotonic()
            tell = _Teller(attempt.name)
            trial = Trial(site, place / "run", Random(options.seed), tell, outage_s=OUTAGE_S)
            outcome = await attempt.run(trial)
            outcomes.append((attempt, outcome))
            tell.at_last(f"{_verdict(outcome)} after {time.monotonic() - began_s:.0f} s")
    return outcomes


@asynccontextmanager
async def _own_site(directory: Path, seed: int) -> AsyncGenerator[Site]:
    program, url = await postgresql(
        directory / "postgresql",
        port=free_port(),
        password=secrets.token_hex(16),
        log=directory / "postgresql.log",
        account=account_for_servers(),
    )
    server = Server(program)
    await server.start()
    try:
        async with Site(directory, database_url=url, postgresql=server, chance=Random(seed)) as site:
            yield site
    finally:
        await server.stop()


class _Teller:
    """Says on stderr how far a row has come, every few seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told_s = 0.0

    def __call__(self, words: str) -> None:
        if time.monotonic() - self._told_s >= _TELL_EVERY_S:
            self.at_last(words)

    def at_last(self, words: str) -> None:
        self._told_s = time.monotonic()
        sys.stderr.write(f"{self._name}: {words}\n")


def _verdict(outcome: Outcome) -> str:
    return "kept" if outcome.is_kept else "BROKEN"


def _table(outcomes: Sequence[tuple[_Attempt, Outcome]]) -> str:
    head = ["promise", "size", "bound", "measured", "verdict"]
    lines = [
        [
            attempt.promise,
            outcome.size,
            attempt.bound,
            "; ".join(map(str, outcome.figures)) or f"{len(outcome.violations)} violations",
            _verdict(outcome),
        ]
        for attempt, outcome in outcomes
    ]
    return aligned([head, *lines])


def _complaints(outcomes: Sequence[tuple[_Attempt, Outcome]], options: _Options) -> list[str]:
    lines: list[str] = []
    for attempt, outcome in outcomes:
        if not outcome.is_kept:
            again = (
                f"--only {attempt.name} --seed {options.seed} --scale {options.scale:g} --minutes {options.minutes:g}"
            )
            lines += [f"{attempt.promise}: {len(outcome.violations)} violations; again by ./dev chaos {again}"]
            lines += [f"  {violation}" for violation in outcome.violations[:_SHOWN]]
    return lines


if __name__ == "__main__":
    sys.exit(main())
