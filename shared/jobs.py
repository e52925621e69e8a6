"""What a job is: the request as it was accepted, and the states it goes through."""

from enum import StrEnum

import msgspec
from msgspec import Struct

BATCH_LAG = 16  # finite, so that batches age: more, and they expire; fewer, and they are in the way


class JobKind(StrEnum):
    """What Ollama is asked to do."""

    CHAT = "chat"
    GENERATE = "generate"
    EMBED = "embed"


class JobStatus(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"  # admitted; waits for a worker, or for its next attempt
    RUNNING = "running"  # a worker holds its lease
    COMPLETED = "completed"  # the whole answer is in the log
    FAILED = "failed"  # it ended with an error
    CANCELLED = "cancelled"  # somebody stopped it
    EXPIRED = "expired"  # its deadline in the queue passed


TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED})


class Job(Struct, frozen=True, array_like=True):
    """One accepted request, unchanged from admission to its end."""

    id: str  # UUIDv7
    kind: JobKind
    model: str  # as announced by workers: the name with its tag
    user_id: str
    request: bytes  # the JSON body for Ollama
    request_id: str  # of the HTTP request that brought it
    traceparent: str  # W3C trace context of that request; empty: none
    timeout_ms: int  # longest time from `started` to the end
    calls_tools: bool  # Ollama may be silent for long while it parses a tool call
    is_durable: bool = False  # it is in PostgreSQL too, and so are its end and its answer before anybody hears of them
    api_key_id: str | None = None  # with which it was asked for; None: by a session
    conversation_id: str | None = None  # whose next messages it brings
    is_batch: bool = False  # nobody waits for it

    @property
    def lag(self) -> int:
        """How far it stands behind what waits as long, in virtual time: one is a job of each user who has one."""
        return BATCH_LAG if self.is_batch else 0


class JobEnd(Struct, frozen=True, kw_only=True):
    """How a job ended, for PostgreSQL; its id says when it was admitted."""

    user_id: str
    kind: JobKind
    model: str
    status: JobStatus
    request_id: str
    queue_ms: int  # admission to last claim, or to the end if there was none
    total_ms: int  # admission to end
    attempts: int  # 0: no worker ever had it
    epoch: int  # of who ended it; of two ends that contradict each other the one with the higher epoch is true
    is_durable: bool
    terminal: str  # kind and payload of its last event
    prompt_tokens: int = 0  # with the next: as its limits are charged, if its last event has no usage
    completion_tokens: int = 0
    api_key_id: str | None = None  # as in Job
    worker: str | None = None  # as clients see it; None: it was ended while no worker had it


_ends = msgspec.json.Decoder(JobEnd)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Job)


def encode_job(job: Job) -> bytes:
    """Return the job in the form kept in Redis."""
    return _encoder.encode(job)


def decode_job(payload: bytes) -> Job:
    """Return the job that `encode_job` wrote.

    Raises:
        msgspec.DecodeError: The bytes are not a job.

    """
    return _decoder.decode(payload)


def encode_end(end: JobEnd) -> bytes:
    """Return an end in the form kept in Redis, in which scripts write it too."""
    return msgspec.json.encode(end)


def decode_end(text: bytes) -> JobEnd:
    """Return the end that `encode_end` or a script wrote."""
    return _ends.decode(text)
