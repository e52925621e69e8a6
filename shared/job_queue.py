"""The queue: admission, claims under leases, and the end of jobs, each one script.

Structures (keys in shared/redis_keys.py): three sorted sets per model, because fair order, delays and leases cannot
share one score: `waiting` by virtual time, `delayed` by due time, `running` by the end of the lease, which is the only
truth about leases. A job's state is the hash `ds:job:<id>`:

    status            shared.jobs.JobStatus
    user, model, kind, request_id, channel (of the gateway that relays it)
    lag               by how much it stands behind what waits as long, in virtual time (shared/jobs.py)
    api_key           id of the API key that it was asked for with; empty: a session did
    is_durable        `1`: PostgreSQL has it, and has its end before that is told (shared/durable_queue.py)
    admitted_ms       Redis time; also ended_ms
    queue_timeout_ms, timeout_ms
    grace_ms          how long it goes on without readers; -1: whoever reads it
    epoch             the fence: rises with every claim, never falls, not even when Redis has lost everything
    started_ms        Redis time of the first claim; `timeout_ms` runs from then, over all attempts
    failures          attempts that failed; a deploy spends none
    owner             worker id of the last claim
    avoid             worker id on whose host the last attempt failed: others take the job,
    avoid_until_ms    and that one only from then on
    fault             the error of the last attempt: the job's end, if its time is up before the next one
    stop              code with which the owner is to end it; absent: go on
    time_to_live_ms   how long it stays while the job lives
    retention_ms      how long it stays when the job has ended
    idempotency_key   the Redis key that stands for the job (shared/idempotency.py); absent: none does
    fingerprint       of the request, with that key
    begins_after      seq that the log begins after, because Redis lost an earlier one; absent: 0
    lists             keys of the lists of jobs that it is on (shared/scripts/job_lists.lua)
    budgets           rates of tokens that it is settled with: keys and intervals in µs; absent: none, or it is
    reserved_tokens   what is reserved of each,
    prompt_tokens     and how much of that for the prompt
    keyless_retention_ms  what `retention_ms` becomes when that key is freed

It expires with its log: long enough to wait, run and be read while the job lives, `retention_ms` after that.
"""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from msgspec import Struct
from redis.asyncio import Redis

from shared import redis_keys, scripts
from shared.demand import Demand
from shared.errors import JobError
from shared.events import ErrorBody, EventKind, describe, encode_payload
from shared.idempotency import KEPT_MS, Idempotency
from shared.jobs import Job, JobEnd, JobStatus, decode_job, encode_end, encode_job
from shared.pipelined_scripts import PipelinedScripts
from shared.scripts import ScriptCall
from shared.verdicts import Place, Verdict, to_verdict

LEASE_MS = 1_500
WORKER_LEASE_MS = 3_000
LISTED_MS = 60_000  # after its end a job is listed from Redis for so long; its row is there within seconds
SETTLE = ("bucket", "job_lists", "settle")
END_JOB = (*SETTLE, "end_job")
_STATE = ["status", "user", "model", "channel", "is_durable", "started_ms", "ended_ms", "begins_after", "api_key"]
_OPEN_REQUEST_ID = "%s"  # the stop script fills it in from the job


class Claim(Struct, frozen=True):
    """A job in this worker's hands, until its lease ends or it is finished."""

    job: Job
    epoch: int
    failures: int  # attempts that failed before this one
    last_seq: int  # of the log; 0: nothing has been sent yet
    last_event: bytes  # of the log: kind and payload of a terminal one, of others the kind; empty: there is none
    queue_ms: int  # from admission to the first claim
    channel: str  # where the relaying gateway listens
    entries: int  # of the log
    state: dict[bytes, bytes]  # the job's hash as of the claim, for a Redis that has lost it
    ran_ms: int = 0  # from the first claim to this one; 0: this is the first


class Consumption(NamedTuple):
    """The tokens that a job has used."""

    tokens: int | Literal[""]  # as Ollama has counted them; empty: it has not
    answered: int  # pieces of an answer, which count instead, each for a token, and the prompt as it was estimated


class Heartbeat(Struct, frozen=True):
    """What a worker hears at its heartbeat."""

    was_forgotten: bool  # whether the worker was not among the living; then nobody knows what it offers
    answers: list[str]  # per job in hand


class JobState(Struct, frozen=True):
    """How far a job has come."""

    status: JobStatus
    user_id: str
    model: str
    channel: str  # where the gateway listens that its worker publishes to
    is_durable: bool
    started_ms: int | None  # when a worker first took it; None: none has
    ended_ms: int | None  # None: it has not
    begins_after: int  # ids up to here may be of a log that Redis has lost; 0: it has lost none
    api_key_id: str | None  # as in Job


class Stopped(Struct, frozen=True):
    """What became of a job that was to be stopped."""

    model: str
    status: str  # `stopping` until that is done and stored, else the JobStatus it has (ended with, now or before)


class JobQueue:
    """The typed face of the queue's scripts.

    Args:
        redis: Where the queue is.
        lease_ms: How long a job stays with its worker without a heartbeat.

    """

    def __init__(self, redis: Redis, *, lease_ms: int = LEASE_MS) -> None:
        self._redis = redis
        self._lease_ms = lease_ms
        self._admit = PipelinedScripts(redis).load(
            "bucket", "gcra", "demand", "job_lists", "idempotency", "enqueue_job", "admit"
        )
        self._claim = scripts.load(redis, *END_JOB, "claim")
        self._heartbeat = scripts.load(redis, "heartbeat")
        self._finish = scripts.prepare(scripts.read(*SETTLE, "pace", "finish"))
        self._leave = scripts.prepare(scripts.read(*SETTLE, "pace", "leave"))
        self._requeue = scripts.load(redis, "requeue")
        self._stop = scripts.load(redis, *END_JOB, "idempotency", "stop")
        self._due = scripts.load(redis, "due")
        self._release = scripts.load(redis, "release")
        self._attend = scripts.load(redis, "attend")

    async def admit(
        self,
        job: Job,
        *,
        channel: str,
        demand: Demand,
        max_depth: int,
        queue_timeout_ms: int,
        unattended_ms: int,
        grace_ms: int,
        retention_ms: int,
        idempotency: Idempotency | None = None,
        waited_ms: int | None = None,
    ) -> Verdict:
        """Check the limits and the queue's bound, and enqueue the job, in one round trip.

        Args:
            job: What is to be done.
            channel: Where the gateway that relays the job listens.
            demand: All limits are checked before anything is spent.
            max_depth: Most jobs that may wait for the model.
            queue_timeout_ms: The job expires when no worker has claimed it by then.
            unattended_ms: How long its reader at `channel` is believed in, unless `attend` says so again; 0: the job
                runs to its end whoever reads it.
            grace_ms: How long it goes on when nobody reads it any more; then it is cancelled.
            retention_ms: How long state and log stay when the job has ended, at least.
            idempotency: What the request is known by; then the job stays for as long as its key does.
            waited_ms: How long ago the job was admitted, if Redis seems to have lost it since; what is there after all
                stays as it is, and the request is attached to it. None: it is new.

        """
        id_, model = job.id, job.model
        lists = redis_keys.job_lists(job.user_id, job.api_key_id)
        keys = [
            redis_keys.WAITING + model,
            redis_keys.FAIR + model,
            redis_keys.PACE + model,
            redis_keys.JOB + id_,
            redis_keys.PAYLOAD + id_,
            redis_keys.DEADLINES,
            redis_keys.ATTENDED,
            redis_keys.READERS + id_,
            redis_keys.RESERVED + model,
            *lists,
            *demand.keys,
            *([idempotency.key] if idempotency else ()),
        ]
        kept_ms = max(retention_ms, KEPT_MS) if idempotency else retention_ms
        arguments = [
            id_,
            job.user_id,
            model,
            max_depth,
            1,
            queue_timeout_ms,
            job.timeout_ms,
            time_to_live_ms(job, queue_timeout_ms=queue_timeout_ms, retention_ms=kept_ms),
            unattended_ms,
            channel,
            encode_job(job),
            redis_keys.wake_channel(model),
            job.request_id,
            grace_ms,
            retention_ms,
            idempotency.fingerprint if idempotency else "",
            KEPT_MS,
            redis_keys.JOB,
            redis_keys.READERS,
            job.kind.value,
            "" if waited_ms is None else waited_ms,
            job.api_key_id or "",
            job.lag,
            len(lists),
            *demand.arguments,
        ]
        return to_verdict(await self._admit(keys, arguments))

    async def claim(self, worker_id: str, free_slots: Mapping[str, int], *, limit: int) -> list[Claim]:
        """Take jobs for the free slots of each model, at most `limit` in all: first those that lost their worker."""
        keys = [redis_keys.DEADLINES]
        for model in free_slots:
            keys += [
                redis_keys.WAITING + model,
                redis_keys.RUNNING + model,
                redis_keys.DELAYED + model,
                redis_keys.FAIR + model,
                redis_keys.PACE + model,
            ]
        arguments = [worker_id, self._lease_ms, limit, redis_keys.JOB, redis_keys.PAYLOAD, redis_keys.LOG]
        return [_to_claim(row) for row in await self._claim(keys, [*arguments, *free_slots.values()])]

    async def heartbeat(self, worker_id: str, held: Iterable[tuple[Claim, int]]) -> Heartbeat:
        """Renew the leases of the jobs in hand, and the worker's own place among the living.

        Args:
            worker_id: Whose leases.
            held: The jobs, each with how many entries its log is known to have.

        Returns:
            For each job `held`, `taken` (another owner), `missing` (Redis lost it, or a part of it) or `stop:<code>`
            (end it).

        """
        arguments: list[Any] = [
            worker_id,
            self._lease_ms,
            WORKER_LEASE_MS,
            redis_keys.JOB,
            redis_keys.RUNNING,
            redis_keys.LOG,
        ]
        for claim, entries in held:
            arguments += [claim.job.id, claim.epoch, claim.job.model, entries]
        was_forgotten, *answers = await self._heartbeat([redis_keys.WORKERS], arguments)
        return Heartbeat(was_forgotten=bool(was_forgotten), answers=[answer.decode() for answer in answers])

    def finish_call(
        self, claim: Claim, status: JobStatus, *, entries: int, service_ms: int, consumption: Consumption
    ) -> ScriptCall:
        """Return the call that ends a job, for the token log to run after the job's terminal event.

        It answers 1, or 0 when the job has another owner or Redis has lost some of it; then nothing is changed.

        Args:
            claim: The job in hand.
            status: How it ended.
            entries: How many its whole log has, at least.
            service_ms: How long it held its slot; 0: not a measure for others.
            consumption: What its owners pay for.

        """
        id_, model = claim.job.id, claim.job.model
        keys = [
            redis_keys.JOB + id_,
            redis_keys.RUNNING + model,
            redis_keys.PAYLOAD + id_,
            redis_keys.LOG + id_,
            redis_keys.PACE + model,
            redis_keys.ATTENDED,
            redis_keys.DEADLINES,
            redis_keys.READERS + id_,
        ]
        arguments = (id_, claim.epoch, status.value, service_ms, LISTED_MS, entries, *consumption)
        return self._finish(keys, arguments)

    def leave_call(
        self, claim: Claim, end: JobEnd, *, entries: int, service_ms: int, consumption: Consumption
    ) -> ScriptCall:
        """Return the call that gives a durable job away which has ended, for the token log to run after its events.

        It answers 1, or 0 when the job has another owner or Redis has lost some of it; then nothing is changed.

        Args:
            claim: The job in hand.
            end: How it ended.
            entries: How many its log has so far, at least.
            service_ms: How long it held its slot; 0: not a measure for others.
            consumption: What its owners pay for.

        """
        id_, model = claim.job.id, claim.job.model
        keys = [
            redis_keys.JOB + id_,
            redis_keys.RUNNING + model,
            redis_keys.PACE + model,
            redis_keys.DEADLINES,
            redis_keys.UNSTORED,
            redis_keys.ENDS,
            redis_keys.LOG + id_,
        ]
        arguments = (id_, claim.epoch, service_ms, encode_end(end), redis_keys.ENDS_CHANNEL, entries, *consumption)
        return self._leave(keys, arguments)

    async def requeue(
        self, claim: Claim, *, delay_ms: int = 0, failed: bool, avoid_ms: int = 0, error: JobError | None = None
    ) -> bool:
        """Put a job back: at the head of the queue, or after a delay; False when it has another owner.

        Args:
            claim: The job in hand.
            delay_ms: 0 puts it ahead of everything that waits.
            failed: Whether the attempt counts as one of the three that a job has.
            avoid_ms: How long the worker that had it leaves it to others.
            error: What the job ends with if its time is up before anybody takes it; None: `expired`.

        """
        id_, model = claim.job.id, claim.job.model
        keys = [
            redis_keys.JOB + id_,
            redis_keys.RUNNING + model,
            redis_keys.DELAYED + model,
            redis_keys.WAITING + model,
            redis_keys.PACE + model,
            redis_keys.DEADLINES,
        ]
        fault = EventKind.ERROR.value + _describe(error, claim.job.request_id) if error else b""
        arguments = [id_, claim.epoch, delay_ms, redis_keys.wake_channel(model), int(failed), avoid_ms, fault]
        return bool(await self._requeue(keys, arguments))

    async def release(self, worker_id: str, models: Sequence[str]) -> int:
        """End the leases of a worker that is known to be dead, and wake others; each of its jobs has failed once more.

        Returns:
            How many jobs of these models it held.

        """
        keys = [redis_keys.WORKERS, *(redis_keys.RUNNING + model for model in models)]
        return await self._release(keys, [worker_id, redis_keys.JOB, *map(redis_keys.wake_channel, models)])

    async def stop(
        self, job_id: str, *, error: JobError, status: JobStatus, user_id: str = "", only_if_unattended: bool = False
    ) -> Stopped | None:
        """End a job that waits, or tell the worker that runs it to; any process may ask.

        Args:
            job_id: A valid id.
            error: What the stream ends with.
            status: What a job that waits ends as.
            user_id: Whose job it must be; empty: anybody's.
            only_if_unattended: Leave it alone if it is read after all; otherwise free its idempotency key, so that
                whoever comes back begins anew.

        Returns:
            What has become of the job; None: there is no such job (any more), or it is another user's.

        """
        keys = [
            redis_keys.JOB + job_id,
            redis_keys.LOG + job_id,
            redis_keys.PAYLOAD + job_id,
            redis_keys.DEADLINES,
            redis_keys.ATTENDED,
            redis_keys.READERS + job_id,
            redis_keys.UNSTORED,
            redis_keys.ENDS,
        ]
        arguments = [
            job_id,
            user_id,
            error.code,
            status.value,
            EventKind.ERROR.value + _describe(error, _OPEN_REQUEST_ID),
            int(only_if_unattended),
            redis_keys.WAITING,
            redis_keys.DELAYED,
            redis_keys.RUNNING,
            redis_keys.control_channel(""),
            redis_keys.ENDS_CHANNEL,
            LISTED_MS,
        ]
        reply = await self._stop(keys, arguments)
        return Stopped(model=reply[0].decode(), status=reply[1].decode()) if reply else None

    async def overdue(self, limit: int = 100) -> list[str]:
        """Return ids of jobs that should have been claimed, or ended, by now."""
        return [id_.decode() for id_ in await self._due([redis_keys.DEADLINES], [limit])]

    async def stop_code(self, job_id: str) -> str:
        """Return the code with which a job's worker was told to end it; empty: it was not."""
        code = await cast("Awaitable[bytes | None]", self._redis.hget(redis_keys.JOB + job_id, "stop"))
        return code.decode() if code else ""

    async def unattended(self, limit: int = 100) -> list[str]:
        """Return ids of jobs that nobody has read for as long as they may go unread."""
        return [id_.decode() for id_ in await self._due([redis_keys.ATTENDED], [limit])]

    async def attend(self, job_ids: Sequence[str], *, gateway: str, for_ms: int, grace_ms: int) -> None:
        """Say whether readers of these jobs are at a gateway.

        Jobs that have ended, or that run on without readers, stay as they are.

        Args:
            job_ids: Valid ids.
            gateway: Its channel.
            for_ms: How long that is believed unless it is said again; 0: they have left.
            grace_ms: How long a job goes on when it has no readers any more, at no gateway.

        """
        if job_ids:
            keys = [redis_keys.ATTENDED, *(redis_keys.READERS + id_ for id_ in job_ids)]
            await self._attend(keys, [gateway, for_ms, grace_ms, *job_ids])

    async def look(self, job_id: str) -> JobState | None:
        """Return how far a job has come; None: there is no such job (any more)."""
        (state,) = await self.look_at([job_id])
        return state

    async def look_at(self, job_ids: Sequence[str]) -> list[JobState | None]:
        """Return how far jobs have come, as `look` does."""
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hmget(redis_keys.JOB + job_id, _STATE)
        return [_to_state(fields) for fields in await pipeline.execute()]

    async def jobs_of(self, user_id: str) -> list[str]:
        """Return the ids of a user's jobs that wait or run, and of those that ended within LISTED_MS, newest first."""
        return sorted(
            (id_.decode() for id_ in await self._redis.zrange(redis_keys.JOBS + user_id, 0, -1)), reverse=True
        )

    async def places(self, jobs: Sequence[tuple[str, str]]) -> list[Place | None]:
        """Return where each (model, job id) stands; None: it does not wait (any more)."""
        pipeline = self._redis.pipeline(transaction=False)
        for model, job_id in jobs:
            pipeline.zrank(redis_keys.WAITING + model, job_id)
            pipeline.hget(redis_keys.PACE + model, "service_ms")
        replies = await pipeline.execute()
        return [
            None if rank is None else Place(rank + 1, int(service_ms or 0))
            for rank, service_ms in zip(replies[::2], replies[1::2], strict=True)
        ]


def _describe(error: JobError, request_id: str) -> bytes:
    return encode_payload(ErrorBody(describe(error, request_id=request_id)))


def _to_state(fields: list[bytes | None]) -> JobState | None:
    status, user, model, channel, is_durable, started_ms, ended_ms, begins_after, api_key = (
        field.decode() if field else "" for field in fields
    )
    if not status:
        return None
    return JobState(
        status=JobStatus(status),
        user_id=user,
        model=model,
        channel=channel,
        is_durable=bool(is_durable),
        started_ms=int(started_ms) if started_ms else None,
        ended_ms=int(ended_ms) if ended_ms else None,
        begins_after=int(begins_after or 0),
        api_key_id=api_key or None,
    )


def time_to_live_ms(job: Job, *, queue_timeout_ms: int, retention_ms: int) -> int:
    """Return how long a job stays at most: three attempts may each wait and run for as long as one is allowed to."""
    return 3 * (queue_timeout_ms + job.timeout_ms) + retention_ms


def _to_claim(row: list[Any]) -> Claim:
    payload, last_seq, last_event, entries, claimed_ms, fields = row
    state = dict(zip(fields[::2], fields[1::2], strict=True))
    started_ms = int(state[b"started_ms"])
    return Claim(
        job=decode_job(payload),
        epoch=int(state[b"epoch"]),
        failures=int(state[b"failures"]),
        last_seq=last_seq,
        last_event=last_event,
        queue_ms=started_ms - int(state[b"admitted_ms"]),
        ran_ms=int(claimed_ms) - started_ms,
        channel=state[b"channel"].decode(),
        entries=entries,
        state=state,
    )
