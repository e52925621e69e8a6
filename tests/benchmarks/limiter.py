"""Measures what limits cost a chat: `python -m tests.benchmarks.limiter` prints a row per number of limits.

It admits, claims and finishes chats one after the other in a Valkey of its own, in batches, and takes the quietest one
of each row. What a script takes in the server is read from `INFO commandstats`.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from msgspec import structs
from redis.asyncio import Redis

from infra.local.logins import Passwords
from infra.local.ports import free_port
from infra.local.valkey import valkey
from shared.demand import Concurrency, Demand, Limit
from shared.ids import new_id
from shared.job_queue import Consumption, JobQueue
from shared.jobs import Job, JobKind, JobStatus
from shared.redis_client import connect
from shared.verdicts import Admitted
from tests.benchmarks.markdown import aligned
from tests.benchmarks.ours import started
from tests.benchmarks.scenarios import MeasurementError

BATCHES = 20
CHATS = 200  # of a batch
MODEL = "demo:latest"
MANY = 60_000_000  # so that nothing is refused

_USER, _KEY = "018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-000000000002"
_REQUESTS = tuple(
    Limit(scope, name, MANY, MANY) for scope, name in (("user", _USER), ("address", "192.0.2.1"), ("key", _KEY))
)
_TOKENS = tuple(Limit(scope, name, MANY, MANY, 1500, "tokens") for scope, name in (("user", _USER), ("key", _KEY)))
_JOBS = (Concurrency("user", _USER, "jobs", MANY), Concurrency("key", _KEY, "jobs", MANY))
_STREAMS = (Concurrency("user", _USER, "streams", MANY), Concurrency("key", _KEY, "streams", MANY))


class Cost(NamedTuple):
    """What a chat costs, in µs."""

    admission: float  # in the server
    round_trip: float  # of admission, the median
    end: float  # in the server


ROWS: dict[str, Demand] = {
    "0": Demand(),
    "2: requests of user and address": Demand(_REQUESTS[:2]),
    "4: and tokens and jobs of the user": Demand(_REQUESTS[:2], _TOKENS[:1], 500, _JOBS[:1]),
    "6: and streams of the user, requests of a key": Demand(_REQUESTS, _TOKENS[:1], 500, _JOBS[:1], _STREAMS[:1]),
    "9: and tokens, jobs and streams of the key": Demand(_REQUESTS, _TOKENS, 500, _JOBS, _STREAMS),
}


async def measure(redis: Redis, demand: Demand, *, chats: int = CHATS) -> Cost:
    """Return what a chat costs on average that has this demand, over so many."""
    queue = JobQueue(redis)
    await redis.flushall()
    await redis.config_resetstat()
    trips_s = [await _admit(queue, demand) for _ in range(chats)]
    admission_us = await _per_call_us(redis, "evalsha")
    for claim in await queue.claim("worker", {MODEL: chats}, limit=chats):
        used = Consumption(1000, answered=0)
        call = queue.finish_call(claim, JobStatus.COMPLETED, entries=0, service_ms=1, consumption=used)
        await redis.execute_command(*call.by_digest)
    return Cost(admission_us, median(trips_s) * 1e6, await _per_call_us(redis, "eval"))


async def _admit(queue: JobQueue, demand: Demand) -> float:
    """Return how many seconds it takes to have a chat admitted."""
    job = Job(
        id=new_id(),
        kind=JobKind.CHAT,
        model=MODEL,
        user_id=_USER,
        request=b"{}",
        request_id="-",
        traceparent="",
        timeout_ms=60_000,
        calls_tools=False,
        api_key_id=_KEY if any(limit.scope == "key" for limit in demand.requests) else None,
    )
    demand = structs.replace(demand, stream_id=job.id)
    began_s = perf_counter()
    verdict = await queue.admit(
        job,
        channel="nobody",
        demand=demand,
        max_depth=MANY,
        queue_timeout_ms=60_000,
        unattended_ms=5_000,
        grace_ms=15_000,
        retention_ms=60_000,
    )
    took_s = perf_counter() - began_s
    if not isinstance(verdict, Admitted):
        raise MeasurementError(f"a chat was refused: {verdict}")
    return took_s


async def _per_call_us(redis: Redis, command: str) -> float:
    statistics: dict[str, Any] = await redis.info("commandstats")
    return statistics[f"cmdstat_{command}"]["usec_per_call"]


async def _run(rounds: int) -> str:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deepersensor-bench-")))
        program, logins = valkey(
            directory / "valkey", port=free_port(), passwords=Passwords.new(), log=directory / "valkey.log"
        )
        await started(stack, program)
        redis = await stack.enter_async_context(connect(logins.operator, role="bench"))
        batches: dict[str, list[Cost]] = {limits: [] for limits in ROWS}
        for _ in range(rounds):  # in turns, so that a busy moment is not one row's alone
            for limits, costs in batches.items():
                costs.append(await measure(redis, ROWS[limits]))
    return aligned(
        [
            ("limits", "admission, µs in the server", "its round trip, µs", "end, µs in the server"),
            *((limits, *(f"{min(us):.0f}" for us in zip(*costs, strict=True))) for limits, costs in batches.items()),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.limiter", description=__doc__)
    parser.add_argument("--batches", type=int, default=BATCHES, help="how many of each row (%(default)s)")
    sys.stdout.write(asyncio.run(_run(parser.parse_args(arguments).batches)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
