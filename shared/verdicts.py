"""What admission says of a request; JobQueue.admit is who says it."""

from typing import Any

from msgspec import Struct


class Place(Struct, frozen=True):
    """Where a job stands in its model's queue."""

    position: int  # 1-based, in fair order; it may rise
    service_ms: int  # smoothed time a job of the model holds a slot; 0: none has been measured


class Admitted(Struct, frozen=True):
    """The job is in the queue."""

    place: Place
    limits: tuple[tuple[int, int], ...]  # per rate: what remains, and µs until it is whole again


class LimitReached(Struct, frozen=True):
    """Refused: a rate limit is used up; nothing was spent."""

    index: int  # of the limit that makes the caller wait longest, from 1, in the order given
    retry_after_us: int
    limits: tuple[tuple[int, int], ...]  # as in Admitted


class ConcurrencyReached(Struct, frozen=True):
    """Refused: somebody has as many jobs or open streams as they may; nothing was spent."""

    index: int  # of the limit, from 1, in the order given: those of jobs, then those of streams
    service_ms: int  # as in Place


class QueueFull(Struct, frozen=True):
    """Refused: as many jobs wait as may; nothing was spent."""

    depth: int
    service_ms: int  # as in Place
    limits: tuple[tuple[int, int], ...]  # as in Admitted


class Attached(Struct, frozen=True):
    """Not needed: the request's idempotency key stands for a job already, which it now reads as well."""

    job_id: str
    limits: tuple[tuple[int, int], ...]  # as in Admitted, of the rates of requests alone


class KeyMismatched(Struct, frozen=True):
    """Refused: the idempotency key stands for the job of another request; nothing was spent."""


class BeingStored(Struct, frozen=True):
    """Refused for now: the idempotency key stands for a job that is being stored; nothing was spent."""


Verdict = Admitted | Attached | BeingStored | ConcurrencyReached | LimitReached | KeyMismatched | QueueFull


def to_verdict(reply: list[Any]) -> Verdict:  # noqa: PLR0911  one per verdict
    """Return what the scripts `admit` and `reserve` say."""
    match reply:
        case [b"limited", index, retry_after_us, limits]:
            return LimitReached(index=index, retry_after_us=retry_after_us, limits=pairs(limits))
        case [b"crowded", index, service_ms]:
            return ConcurrencyReached(index=index, service_ms=int(service_ms))
        case [b"full", depth, service_ms, limits]:
            return QueueFull(depth=depth, service_ms=int(service_ms), limits=pairs(limits))
        case [b"attached", job_id, limits]:
            return Attached(job_id=job_id.decode(), limits=pairs(limits))
        case [b"mismatched"]:
            return KeyMismatched()
        case [b"reserved"]:
            return BeingStored()
        case [_, position, service_ms, limits]:
            return Admitted(place=Place(position, int(service_ms)), limits=pairs(limits))
        case _:
            raise ValueError(reply)


def pairs(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    """Return what a script says of rates: per rate what remains, and µs until it is whole."""
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
