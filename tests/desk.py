"""Hands out jobs as `worker.generate_reply` gets them, with a real queue and a real log."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from redis.asyncio import Redis

from shared.events import ErrorBody, Event, EventKind
from shared.job_queue import Claim, JobQueue
from shared.jobs import JobKind
from shared.token_log import TokenLogWriter
from tests.jobs import MODEL, admit, append, claim_next, log_of, make_job, open_log
from worker.job_in_hand import JobInHand

REQUEST = msgspec.json.encode({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True})


class Desk:
    """Hands out jobs as a worker has them."""

    def __init__(self, redis: Redis, queue: JobQueue) -> None:
        self.redis = redis
        self.queue = queue
        self._writer = TokenLogWriter(redis)

    async def take(
        self,
        claim: Claim | None = None,
        *,
        kind: JobKind = JobKind.CHAT,
        timeout_ms: int = 60_000,
        request: bytes = REQUEST,
    ) -> JobInHand:
        """Take a claimed job in hand, a new one unless given."""
        if claim is None:
            await admit(self.queue, make_job(kind=kind, request=request, timeout_ms=timeout_ms))
            claim = await claim_next(self.queue)
        log = open_log(self._writer, claim)
        return JobInHand(claim, log, is_loaded=True)

    async def take_after(self, *events: tuple[EventKind, bytes], failures: int = 0) -> JobInHand:
        """Take a job in hand that an earlier owner left with these events in its log."""
        await admit(self.queue, make_job(request=REQUEST))
        for _ in range(failures):
            await self.queue.requeue(await claim_next(self.queue), failed=True)
        first = await claim_next(self.queue)
        await append(self.redis, first, *events)
        await self.queue.requeue(first, failed=False)
        return await self.take(await claim_next(self.queue))

    async def take_again(self, job: JobInHand) -> JobInHand:
        """Put a job back as its worker does when Ollama has failed, and take it in hand as another worker."""
        await job.log.stored()
        await self.queue.requeue(job.claim, failed=True)
        return await self.take(await claim_next(self.queue))

    async def events(self, job: JobInHand) -> list[Event]:
        """Return what is in the job's log, when all of it is stored."""
        await job.log.stored()
        return await log_of(self.redis, job.claim.job)

    async def kinds(self, job: JobInHand) -> bytes:
        """Return the kinds of what is in the job's log."""
        return b"".join(event.kind for event in await self.events(job))

    async def error(self, job: JobInHand) -> str:
        """Return the code of the error at the end of the job's log."""
        event = (await self.events(job))[-1]
        assert event.kind == EventKind.ERROR.value
        return msgspec.json.decode(event.payload, type=ErrorBody).error.code

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[None]:
        """Write the logs inside the block."""
        task = asyncio.create_task(self._writer.run())
        try:
            yield
        finally:
            task.cancel()
