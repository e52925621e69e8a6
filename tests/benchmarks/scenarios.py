"""What is measured: each function puts one kind of load on one target and returns its figures by name."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from infra.local.program import start
from tests.benchmarks.bench import Bench, Outcome
from tests.benchmarks.load import Load, Percentiles
from tests.benchmarks.processors import resident_mb
from tests.benchmarks.targets import PACE, PACED, SLOW, SLOW_PACE, UNPACED, Target

Figures = Mapping[str, float]
Scenario = Callable[[Bench, Target], Awaitable[Figures]]

_SHORT_ANSWER_TOKENS = 8
_LONG_ANSWER_TOKENS = 256
_RAMP_S = 2.0
_RUNNING_JOBS = 900
_UNTIL_ALL_RUN_S = 5.0
_UNTIL_IDLE_S = 1.0
_TIMELY_PERCENT = 99


class MeasurementError(Exception):
    """A figure could not be taken; the message says why."""


async def first_token(bench: Bench, target: Target) -> Figures:
    """One client, one answer after the other. The model's first token leaves at once: all of its delay was added."""
    load = Load(clients=1, requests=bench.scale.sequential_requests)
    outcome = await bench.send(target, target.streamed(UNPACED, _SHORT_ANSWER_TOKENS), load)
    delay = taken(outcome.report.first_token_ms)
    return {"p50_ms": delay.p50, "p99_ms": delay.p99}


async def requests(bench: Bench, target: Target) -> Figures:
    """Sixteen clients that want short answers in one piece."""
    load = Load(clients=16, seconds=bench.scale.rate_s)
    report = (await bench.send(target, target.whole(UNPACED, _SHORT_ANSWER_TOKENS), load)).report
    return {"per_s": report.complete_in_window / report.seconds}


async def unpaced(bench: Bench, target: Target) -> Figures:
    """Sixty-four streams as fast as they go."""
    report = (await send_unpaced_streams(bench, target)).report
    return {"tokens_per_s": report.tokens_in_window / report.seconds, "tokens_per_read": report.tokens / report.reads}


async def streams_200(bench: Bench, target: Target) -> Figures:
    """Two hundred streams at the pace of a good GPU."""
    report = (await send_paced_streams(bench, target, 200)).report
    return {"gap_p99_ms": taken(report.gap_ms).p99, "first_token_p99_ms": taken(report.first_token_ms).p99}


async def streams_500(bench: Bench, target: Target) -> Figures:
    """Five hundred of them, and what a token costs; a backlog makes tokens cheap, so that only timely ones count."""
    outcome = await send_paced_streams(bench, target, 500)
    delivered_percent = 100 * outcome.report.tokens_on_time / (500 * _paced_tokens(bench))
    figures = {"gap_p99_ms": taken(outcome.report.gap_ms).p99, "delivered_percent": delivered_percent}
    if target.pids and delivered_percent > _TIMELY_PERCENT:
        figures["cpu_us_per_token"] = outcome.serving_s / outcome.report.tokens * 1e6
    return figures


async def send_paced_streams(bench: Bench, target: Target, clients: int) -> Outcome:
    """Send one paced answer to each client, the starts spread over two seconds."""
    load = Load(clients=clients, requests=1, ramp_s=_RAMP_S, pace=PACE)
    return await bench.send(target, target.streamed(PACED, _paced_tokens(bench)), load)


async def send_unpaced_streams(bench: Bench, target: Target) -> Outcome:
    """Send long answers to sixty-four clients, one after the other, for as long as a rate is taken."""
    load = Load(clients=64, seconds=bench.scale.rate_s)
    return await bench.send(target, target.streamed(UNPACED, _LONG_ANSWER_TOKENS), load)


async def start_up(_: Bench, target: Target) -> Figures:
    """Another front process: how long until its first 200, and its memory when it has nothing to do."""
    if target.spare is None:
        return {}
    clock = asyncio.get_running_loop().time
    began = clock()
    running = await start(target.spare)
    try:
        await running.until_it_serves()
        start_s = clock() - began
        await asyncio.sleep(_UNTIL_IDLE_S)
        return {"resident_mb": resident_mb(running.pid), "start_s": start_s}
    finally:
        await running.stop()


async def pickup(bench: Bench, target: Target) -> Figures:
    """From the queue to the job's function, on an idle worker and on one with 900 jobs running; ours alone has it."""
    if target.surface is None:
        return {}
    idle = await measure_pickup(bench, target)
    async with running_jobs(bench, target, _RUNNING_JOBS):
        busy = await measure_pickup(bench, target)
    return {"p50_ms": idle.p50, "p99_ms": idle.p99, "busy_p50_ms": busy.p50, "busy_p99_ms": busy.p99}


async def measure_pickup(bench: Bench, target: Target) -> Percentiles:
    """Return how long jobs that arrive one by one waited in the queue."""
    load = Load(clients=1, seconds=bench.scale.rate_s)
    return taken((await bench.send(target, target.streamed(UNPACED, 1), load)).report.queue_ms)


@asynccontextmanager
async def running_jobs(bench: Bench, target: Target, count: int) -> AsyncGenerator[None]:
    """Keep `count` slow answers streaming for as long as a rate is taken.

    Raises:
        MeasurementError: They had not all begun by the time the measurement did, or did not all end well.

    """
    tokens = round((_UNTIL_ALL_RUN_S + bench.scale.rate_s + 1) * SLOW_PACE)
    load = Load(clients=count, requests=1, ramp_s=_RAMP_S, pace=SLOW_PACE)
    background = asyncio.create_task(bench.send(target, target.streamed(SLOW, tokens), load))
    await asyncio.sleep(_UNTIL_ALL_RUN_S)
    try:
        yield
    finally:
        report = (await background).report
    if report.complete < count or _RAMP_S + taken(report.first_token_ms).max / 1000 > _UNTIL_ALL_RUN_S:
        raise MeasurementError(f"{count} jobs should have been running, and were not: {report.first_error}")


def taken(percentiles: Percentiles | None) -> Percentiles:
    """Return `percentiles`.

    Raises:
        MeasurementError: There are none, because no answer came.

    """
    if percentiles is None:
        raise MeasurementError("no answer came that could be timed")
    return percentiles


def _paced_tokens(bench: Bench) -> int:
    return round(bench.scale.stream_s * PACE)
