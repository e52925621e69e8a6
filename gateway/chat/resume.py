"""Reads a job's stream again, or further: from whichever gateway, by any number of readers, running or finished."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.admission.attendance import Attendance
from gateway.admission.rate_limit import RETRY_WITHOUT_REDIS_S
from gateway.chat.queue_position import QueuePositions
from gateway.log_tail import LogTail
from gateway.principal import Principal
from gateway.relay import Reader, Relay
from shared.database import accepted_jobs, jobs
from shared.database.engine import Database
from shared.database.jobs import FinishedJob
from shared.errors import InvalidEventIdError, NotFoundError, StoreUnavailableError, StreamExpiredError
from shared.ids import is_id
from shared.job_queue import JobQueue, JobState
from shared.jobs import Job, JobStatus
from shared.token_log import Tail, read_tail

RETRY_LOST_S = 2.0  # about what it takes to restore a job (gateway/durability/restorer.py)
PUT_BACK_WITHIN_S = 1.0  # a worker does so at its heartbeat
LOOK_AGAIN_S = 0.1
MOST_DIGITS = 10  # of an event id; more events than that no answer has

_NOTHING_YET = Tail(epoch=0, last_seq=0, has_ended=False)


class Place(Struct, frozen=True):
    """Where in which stream a reader wants to go on."""

    job_id: str
    job: JobState
    tail: Tail
    after: int  # seq of the last event that the reader has

    @property
    def is_the_end(self) -> bool:
        """Whether nothing will ever come after it."""
        return self.tail.has_ended and self.after == self.tail.last_seq


class Resumption:
    """Opens readers of jobs that exist already.

    Args:
        redis: Where jobs and logs are.
        database: Remembers whose job it was when Redis has forgotten it.
        queue: Tells how far a job has come.
        relay: Brings what is published for this process.
        log_tail: Brings what is published elsewhere.
        attendance: Where readers sign on and off.
        positions: Tells who waits how they get on.
        grace_ms: How long a job goes on without readers.

    """

    def __init__(
        self,
        *,
        redis: Redis,
        database: Database,
        queue: JobQueue,
        relay: Relay,
        log_tail: LogTail,
        attendance: Attendance,
        positions: QueuePositions,
        grace_ms: int,
    ) -> None:
        self._redis = redis
        self._database = database
        self._queue = queue
        self._relay = relay
        self._log_tail = log_tail
        self._attendance = attendance
        self._positions = positions
        self._grace_ms = grace_ms

    async def find(self, job_id: str, principal: Principal, *, last_event_id: str = "") -> Place:
        """Return the place in somebody's stream after an event; an empty id means the beginning.

        Raises:
            InvalidEventIdError: The id is no id of an event of this stream (yet).
            NotFoundError: There is no such job, or it is somebody else's.
            StreamExpiredError: It was there, and is not kept any more.
            StoreUnavailableError: Redis is out of reach, or PostgreSQL when it has to be asked.

        """
        after = _to_seq(last_event_id)
        if not is_id(job_id):
            raise _missing()
        try:
            job, tail = await self._look(job_id, after, principal)
        except RedisError as error:
            raise _out_of_reach() from error
        if job is None:
            await self._refuse_forgotten(job_id, principal)
            raise _missing()
        if not _is_theirs(job, principal):
            raise _missing()
        if after > _last_id(job, tail):
            raise InvalidEventIdError(f"The stream has {tail.last_seq} events so far.", param="Last-Event-ID")
        return Place(job_id=job_id, job=job, tail=tail, after=after)

    @asynccontextmanager
    async def read(self, place: Place, *, stream_url: str) -> AsyncGenerator[Reader]:
        """Read from a place inside the block; leaving early counts as the reader's going away.

        Raises:
            StoreUnavailableError: Redis is out of reach.

        """
        job_id, job, tail = place.job_id, place.job, place.tail
        async with AsyncExitStack() as stack:
            reading = self._relay.read(job_id, job.model, grace_ms=self._grace_ms, seq=place.after)
            reader = stack.enter_context(reading)
            reader.stream_url = stream_url
            reader.is_durable = job.is_durable
            if job.channel != self._relay.channel:
                stack.enter_context(self._log_tail.follow(job_id, epoch=tail.epoch, seq=tail.last_seq))
            reader.fall_behind()
            try:
                await self._attendance.enter(job_id, grace_ms=self._grace_ms)
                if job.status is JobStatus.QUEUED:
                    await self._positions.tell([reader])
            except RedisError as error:
                raise _out_of_reach() from error
            try:
                yield reader
            finally:
                if not reader.ended:
                    self._attendance.leave(job_id, grace_ms=self._grace_ms)

    async def _look(self, job_id: str, after: int, principal: Principal) -> tuple[JobState | None, Tail]:
        """Return what Redis has of a job, and when it has lost what the reader has, what its owner has put back."""
        now_s = asyncio.get_running_loop().time
        give_up_at_s = now_s() + PUT_BACK_WITHIN_S
        while True:
            job = await self._queue.look(job_id)
            tail = await read_tail(self._redis, job_id) or _NOTHING_YET
            # A stranger learns nothing from how long it takes.
            is_whole = (
                job is not None and _is_theirs(job, principal) and (after <= _last_id(job, tail) or tail.has_ended)
            )
            if is_whole or not after or now_s() > give_up_at_s:
                return job, tail
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _refuse_forgotten(self, job_id: str, principal: Principal) -> None:
        async with self._database.transaction() as connection:
            ended = await jobs.find(connection, job_id)
            accepted = await accepted_jobs.find(connection, [job_id])
        if ended and _is_theirs(ended, principal):
            raise StreamExpiredError("The stream is not kept any more.")
        if accepted and _is_theirs(accepted[0].job, principal):
            raise StoreUnavailableError("The job is about to be in the queue again.", retry_after_s=RETRY_LOST_S)


def _is_theirs(job: JobState | FinishedJob | Job, principal: Principal) -> bool:
    return principal.owns(user_id=job.user_id, api_key_id=job.api_key_id)


def _last_id(job: JobState, tail: Tail) -> int:
    """Return the highest id that a reader can have, of this log or of one that Redis has lost."""
    return max(tail.last_seq, job.begins_after)


def _to_seq(last_event_id: str) -> int:
    if not last_event_id:
        return 0
    if len(last_event_id) > MOST_DIGITS or not (last_event_id.isascii() and last_event_id.isdecimal()):
        raise InvalidEventIdError("An event id is a decimal number.", param="Last-Event-ID")
    return int(last_event_id)


def _out_of_reach() -> StoreUnavailableError:
    return StoreUnavailableError("Streams are out of reach just now.", retry_after_s=RETRY_WITHOUT_REDIS_S)


def _missing() -> NotFoundError:
    return NotFoundError("There is no such job.", param="id")
