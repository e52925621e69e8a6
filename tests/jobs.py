"""Makes jobs and admits them, with everything that a test does not care about filled in."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

from redis.asyncio import Redis

from shared import redis_keys
from shared.demand import Demand, Limit
from shared.events import Event, EventKind
from shared.idempotency import Idempotency
from shared.ids import new_id
from shared.job_queue import Claim, Consumption, JobQueue
from shared.jobs import Job, JobKind, JobStatus
from shared.restoration import Restoration
from shared.token_log import JobLog, TokenLogWriter, read_after
from shared.verdicts import Admitted, Verdict

MODEL = "demo:latest"
CHANNEL = "ds:gateway:test"
RETENTION_MS = 60_000
NOTHING = Consumption("", answered=0)

_HANG_S = 20.0  # a limit for hanging, not an expectation


def make_job(
    *,
    user: str = "alice",
    kind: JobKind = JobKind.CHAT,
    model: str = MODEL,
    request: bytes = b'{"messages": []}',
    timeout_ms: int = 60_000,
    is_durable: bool = False,
    api_key_id: str | None = None,
    is_batch: bool = False,
    conversation_id: str | None = None,
) -> Job:
    """Return a new job."""
    return Job(
        id=new_id(),
        kind=kind,
        model=model,
        user_id=user,
        request=request,
        request_id=f"request-of-{user}",
        traceparent="",
        timeout_ms=timeout_ms,
        calls_tools=False,
        is_durable=is_durable or conversation_id is not None,
        conversation_id=conversation_id,
        api_key_id=api_key_id,
        is_batch=is_batch,
    )


async def try_to_admit(
    queue: JobQueue,
    job: Job,
    *,
    limits: Sequence[Limit] = (),
    demand: Demand | None = None,
    max_depth: int = 10_000,
    queue_timeout_ms: int = 60_000,
    unattended_ms: int = 0,
    grace_ms: int = 0,
    channel: str = CHANNEL,
    idempotency: Idempotency | None = None,
    waited_ms: int | None = None,
) -> Verdict:
    """Ask for admission."""
    return await queue.admit(
        job,
        channel=channel,
        demand=demand or Demand(requests=tuple(limits)),
        max_depth=max_depth,
        queue_timeout_ms=queue_timeout_ms,
        unattended_ms=unattended_ms,
        grace_ms=grace_ms,
        retention_ms=RETENTION_MS,
        idempotency=idempotency,
        waited_ms=waited_ms,
    )


async def admit(queue: JobQueue, job: Job | None = None, **options: Any) -> Job:  # noqa: ANN401  see try_to_admit
    """Have a job admitted, a new one unless given, and return it."""
    job = job or make_job()
    verdict = await try_to_admit(queue, job, **options)
    assert isinstance(verdict, Admitted), verdict
    return job


async def state_of(redis: Redis, job: Job) -> dict[str, str]:
    """Return a job's hash; empty when it is gone."""
    fields = await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(redis_keys.JOB + job.id))
    return {name.decode(): value.decode() for name, value in fields.items()}


async def claim_next(queue: JobQueue, *, worker: str = "worker", model: str = MODEL) -> Claim:
    """Claim one job, which must be there."""
    (claim,) = await queue.claim(worker, {model: 1}, limit=1)
    return claim


@asynccontextmanager
async def writing(redis: Redis) -> AsyncGenerator[TokenLogWriter]:
    """A writer of token logs that writes inside the block, which must not take for ever."""
    writer = TokenLogWriter(redis)
    task = asyncio.create_task(writer.run())
    try:
        async with asyncio.timeout(_HANG_S):
            yield writer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def open_log(writer: TokenLogWriter, claim: Claim, *, channel: str | None = None) -> JobLog:
    """Return the writing end of a claimed job's log, published where the job says unless told otherwise."""
    return writer.open(
        job_id=claim.job.id,
        epoch=claim.epoch,
        last_seq=claim.last_seq,
        entries=claim.entries,
        channel=channel or claim.channel,
        restore=partial(Restoration().command, claim),
    )


def claim_of(job: Job) -> Claim:
    """Return the claim of a job of which Redis knows nothing."""
    return Claim(
        job=job, epoch=1, failures=0, last_seq=0, last_event=b"", queue_ms=0, channel=CHANNEL, entries=1, state={}
    )


async def append(redis: Redis, claim: Claim, *events: tuple[EventKind, bytes]) -> None:
    """Append the first events to a claimed job's log as its worker does, and return when they are stored.

    Raises:
        FencedError: The job has a new owner.

    """
    async with writing(redis) as writer:
        log = open_log(writer, claim)
        for kind, payload in events:
            log.append(kind.value, payload)
        await log.stored()


async def taken_over(redis: Redis, claim: Claim) -> Claim:
    """Return the claim of another worker on the same job, whose first owner knows nothing of it."""
    queue = JobQueue(redis)
    assert await queue.requeue(claim, failed=False)
    successor = await claim_next(queue, worker="successor", model=claim.job.model)
    assert successor.job.id == claim.job.id
    return successor


async def finish(
    redis: Redis,
    queue: JobQueue,
    claim: Claim,
    status: JobStatus = JobStatus.COMPLETED,
    *,
    service_ms: int = 0,
    consumption: Consumption = NOTHING,
) -> bool:
    """End a claimed job; False when it has another owner."""
    call = queue.finish_call(claim, status, entries=0, service_ms=service_ms, consumption=consumption)
    return bool(await redis.execute_command(*call.whole))


async def log_of(redis: Redis, job: Job) -> list[Event]:
    """Return the events in a job's log."""
    return [event for batch in await read_after(redis, job.id) for event in batch.split()]
