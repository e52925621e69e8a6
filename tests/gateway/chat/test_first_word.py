"""A client that cannot take back what it was shown gets one answer, or an error as it can still be told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from litestar.types import HTTPDisconnectEvent, Receive
from redis.asyncio import Redis

from gateway.chat.collect import PIECES
from gateway.chat.first_word import first_word
from gateway.error_responses import ReportedError
from gateway.relay import Reader, Relay
from shared.errors import DrainingError, JobCancelledError, UnauthenticatedError, UpstreamError
from shared.events import ErrorBody, Event, EventKind, Resumed, describe, encode_payload
from shared.ids import new_id
from shared.token_log import Batch
from tests.jobs import MODEL

STARTED, CHUNK, DONE = EventKind.STARTED.value, EventKind.CHUNK.value, EventKind.DONE.value
ERROR, RESUMED = EventKind.ERROR.value, EventKind.RESUMED.value
LONG_S, NO_TIME_S = 60.0, 0.0


async def stays() -> HTTPDisconnectEvent:
    """Wait for a client's going away that never goes."""
    await asyncio.Event().wait()
    raise AssertionError


async def goes() -> HTTPDisconnectEvent:
    return {"type": "http.disconnect"}


class Told:
    """A reader, and what is published for it."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._seq = 0

    def tell(self, kind: bytes, payload: bytes = b"{}") -> None:
        self._seq += 1
        self.reader.offer(Batch(self.reader.job_id, 1, self._seq, self._seq, kind + payload))


@pytest.fixture
async def told(redis: Redis) -> AsyncIterator[Told]:
    with Relay(redis).read(new_id(), MODEL) as reader:
        yield Told(reader)


async def read(told: Told, *, receive: Receive = stays, patience_s: float = LONG_S) -> list[Event]:
    batches = await first_word(told.reader, receive, patience_s=patience_s)
    return [event async for events in batches for event in events]


def failure() -> bytes:
    return encode_payload(ErrorBody(describe(UpstreamError("It failed."), request_id="id")))


def again(mode: str) -> bytes:
    return encode_payload(Resumed(attempt=2, mode="restarted" if mode == "restarted" else "continued"))


async def test_an_answer_that_is_there_is_told_whole(told: Told) -> None:
    for kind in (STARTED, CHUNK, CHUNK, DONE):
        told.tell(kind)

    assert [event.kind for event in await read(told)] == [STARTED, CHUNK, CHUNK, DONE]


async def test_an_error_before_the_first_word_is_raised(told: Told) -> None:
    told.tell(STARTED)
    told.tell(ERROR, failure())

    with pytest.raises(ReportedError) as caught:
        await read(told)

    assert caught.value.detail.code == "upstream_error"


async def test_an_error_after_patience_has_ended_is_an_event(told: Told) -> None:
    batches = await first_word(told.reader, stays, patience_s=NO_TIME_S)
    told.tell(STARTED)
    told.tell(ERROR, failure())

    assert [event.kind async for events in batches for event in events] == [STARTED, ERROR]


async def test_patience_costs_no_event(told: Told) -> None:
    """What comes when the time is over is not lost with the waiting that was cancelled."""
    batches = await first_word(told.reader, stays, patience_s=NO_TIME_S)
    for kind in (STARTED, CHUNK, DONE):
        told.tell(kind)

    assert [event.kind async for events in batches for event in events] == [STARTED, CHUNK, DONE]


async def test_a_client_that_goes_is_not_waited_for(told: Told) -> None:
    with pytest.raises(JobCancelledError):
        await read(told, receive=goes)


async def test_an_answer_that_goes_on_goes_on(told: Told) -> None:
    for kind, payload in ((STARTED, b"{}"), (CHUNK, b"{}"), (RESUMED, again("continued")), (DONE, b"{}")):
        told.tell(kind, payload)

    assert [event.kind for event in await read(told)] == [STARTED, CHUNK, RESUMED, DONE]


async def test_an_answer_that_begins_anew_before_its_first_word_goes_on(told: Told) -> None:
    for kind, payload in ((STARTED, b"{}"), (RESUMED, again("restarted")), (CHUNK, b"{}"), (DONE, b"{}")):
        told.tell(kind, payload)

    assert [event.kind for event in await read(told)] == [STARTED, RESUMED, CHUNK, DONE]


async def test_an_answer_that_begins_anew_when_it_was_shown_ends_with_an_error(told: Told) -> None:
    told.tell(STARTED)
    told.tell(CHUNK)
    batches = await first_word(told.reader, stays, patience_s=LONG_S)
    shown = await anext(batches)
    for kind, payload in (
        (RESUMED, again("continued")),
        (CHUNK, b"{}"),
        (RESUMED, again("restarted")),
        (CHUNK, b"{}"),
        (DONE, b"{}"),
    ):
        told.tell(kind, payload)

    shown += [event async for batch in batches for event in batch]

    assert [event.kind for event in shown] == [STARTED, CHUNK, RESUMED, CHUNK, ERROR]
    assert b'"worker_lost"' in shown[-1].payload


async def test_of_an_answer_that_was_begun_anew_before_it_is_shown_the_last_beginning_counts(told: Told) -> None:
    """As of a job that is read again, for an idempotency key."""
    for kind, payload in (
        (STARTED, b"{}"),
        (CHUNK, b"1"),
        (RESUMED, again("restarted")),
        (CHUNK, b"2"),
        (RESUMED, again("restarted")),
        (CHUNK, b"3"),
        (RESUMED, again("continued")),
        (DONE, b"4"),
    ):
        told.tell(kind, payload)

    assert [event.payload for event in await read(told) if event.kind in PIECES] == [b"3", b"4"]


@pytest.mark.parametrize(
    ("part", "error", "code"),
    [(Reader.leave, DrainingError, b'"draining"'), (Reader.revoke, UnauthenticatedError, b'"unauthenticated"')],
    ids=["the gateway stops", "the credential is revoked"],
)
async def test_a_reader_who_is_sent_away(
    redis: Redis, told: Told, part: object, error: type[Exception], code: bytes
) -> None:
    assert callable(part)
    with Relay(redis).read(new_id(), MODEL) as waiting:
        part(waiting)
        with pytest.raises(error):
            await read(Told(waiting))
    told.tell(STARTED)
    told.tell(CHUNK)
    batches = await first_word(told.reader, stays, patience_s=LONG_S)
    part(told.reader)

    events = [event async for batch in batches for event in batch]

    assert [event.kind for event in events] == [STARTED, CHUNK, ERROR]
    assert code in events[-1].payload
