"""What clients saw, written down while they see it: one line of JSON per connection, answer or deed, each on its own.

A *mark* is the name of a job that its client gave it, before the product had one. Times are of a monotonic clock.
"""

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, Self

import msgspec
from msgspec import Struct

REPLAY = "replay"  # the reader who reads again what is over

Ending = Literal["ended", "cut", "left", "refused"]


class Question(Struct, frozen=True, tag="question", tag_field="is"):
    """A client is about to ask for one job."""

    mark: str
    user: str
    model: str
    excused: tuple[str, ...] = ()  # codes with which this job may end, because of what its model was told to do


class SeenEvent(Struct, frozen=True, omit_defaults=True):
    """One event of a stream."""

    type: str
    data: str  # as it came: one line of JSON
    id: int | None = None  # None: it has none
    at_ms: float = 0

    @property
    def json(self) -> Any:  # noqa: ANN401  whatever the event holds
        """The data, decoded."""
        return msgspec.json.decode(self.data)

    @property
    def is_end(self) -> bool:
        """Whether it is a terminal event."""
        return self.type == "error" or (self.type == "chunk" and self.json["done"] is True)


class Connection(Struct, frozen=True, tag="connection", tag_field="is"):
    """Everything that came over one connection on which a stream was asked for."""

    mark: str
    reader: str
    gateway: str
    after: int  # the id it asked to go on from; 0: from the start
    ending: Ending  # ended by the server, cut, left by the client for good, or refused: no stream
    opened_ms: float
    closed_ms: float
    job_id: str | None = None  # None: no answer came
    status: int | None = None
    code: str | None = None  # of the refusal
    retry_ms: int | None = None
    events: tuple[SeenEvent, ...] = ()


class WholeAnswer(Struct, frozen=True, tag="whole", tag_field="is"):
    """What came of a request that is answered in one piece."""

    mark: str
    gateway: str
    opened_ms: float
    closed_ms: float
    status: int | None = None  # None: no answer came
    body: str = ""
    has_hung: bool = False  # whether that was because the client lost its patience


class ForeignAnswer(Struct, frozen=True, tag="foreign", tag_field="is"):
    """Everything that came over one connection on which a stream was asked for in a protocol that is not ours."""

    mark: str
    surface: str
    gateway: str
    ending: Ending
    opened_ms: float
    closed_ms: float
    status: int | None = None  # None: no answer came
    body: str = ""  # as it came


class KeptJob(Struct, frozen=True, tag="kept", tag_field="is"):
    """What came of a request that a job be accepted, and of looking at it until it had ended."""

    mark: str
    gateway: str
    opened_ms: float
    closed_ms: float
    status: int | None = None  # of the request; None: no answer came
    code: str | None = None  # of the refusal, or with which the job ended
    job_id: str | None = None
    ended_as: str | None = None  # the last status that was seen; None: the job was not to be found
    content: str | None = None
    usage: dict[str, Any] | None = None


class Cancellation(Struct, frozen=True, tag="cancellation", tag_field="is"):
    """A client was about to ask that a job be stopped."""

    mark: str
    at_ms: float


Line = Question | Connection | WholeAnswer | ForeignAnswer | KeptJob | Cancellation


class JobTranscript(Struct):
    """All that is written down of one job."""

    question: Question
    readers: dict[str, list[Connection]] = {}  # in the order in which each made them
    answers: list[WholeAnswer] = []
    foreign: list[ForeignAnswer] = []
    kept: list[KeptJob] = []
    was_cancelled: bool = False

    @property
    def mark(self) -> str:
        """The job's mark."""
        return self.question.mark

    @property
    def was_left(self) -> bool:
        """Whether a reader went away for good, so that the job may have been cancelled for want of readers."""
        return any(connections[-1].ending == "left" for connections in self.readers.values())


class Recorder:
    """Writes lines to a file as they happen, so that nothing is lost with the process."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @classmethod
    @contextmanager
    def at(cls, path: Path) -> Generator[Self]:
        """Append to a file inside the block."""
        with path.open("ab") as file:
            yield cls(file)

    def write(self, line: Struct) -> None:
        """Write one line."""
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()


def read(path: Path) -> list[JobTranscript]:
    """Return what a `Recorder` wrote, by job, in the order in which they were asked for."""
    with path.open("rb") as lines:
        return by_job(msgspec.json.decode(line, type=Line) for line in lines)


def by_job(lines: Iterable[Line]) -> list[JobTranscript]:
    """Return what lines say of each job."""
    found = list(lines)
    jobs = {line.mark: JobTranscript(line) for line in found if isinstance(line, Question)}
    for line in found:
        job = jobs[line.mark]
        match line:
            case Connection():
                job.readers.setdefault(line.reader, []).append(line)
            case WholeAnswer():
                job.answers.append(line)
            case ForeignAnswer():
                job.foreign.append(line)
            case KeptJob():
                job.kept.append(line)
            case Cancellation():
                job.was_cancelled = True
            case Question():
                pass
    return list(jobs.values())


def now_ms() -> float:
    """Return the time of a monotonic clock."""
    return time.monotonic() * 1000
