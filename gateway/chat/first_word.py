"""The events of an answer for a client that cannot take back what it was shown, nor go on reading elsewhere.

OpenAI's and Ollama's clients know no `resumed`, and tell errors by the status of the response. So its head is held back
until there is a first word, or an error that can still be told by a status, or somebody's patience ends; and an answer
that begins anew after a part of it was shown ends with an error (docs/decisions/0020-one-path-for-all-surfaces.md).
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

import msgspec
from litestar.types import Receive

from gateway.chat.collect import PIECES, until_disconnect
from gateway.chat.parting import parting_error
from gateway.error_responses import ReportedError, describe
from gateway.relay import Reader
from shared.errors import DeeperSensorError, WorkerLostError
from shared.events import ErrorBody, Event, EventKind, Resumed, encode_payload

_RESUMED = EventKind.RESUMED.value
_ERROR = EventKind.ERROR.value

_errors = msgspec.json.Decoder(ErrorBody)
_resumptions = msgspec.json.Decoder(Resumed)


async def first_word(reader: Reader, receive: Receive, *, patience_s: float) -> AsyncGenerator[list[Event]]:
    """Wait for the first piece of an answer, and return all its events from the first one on, in batches.

    The last event is terminal, and no other is. It is an error where the reader was sent away, or where the answer
    began anew after a part of it had been shown; close the generator then, so that the job is left.

    Args:
        reader: Of the job.
        receive: Tells when the client goes away while nothing is sent yet.
        patience_s: How long to wait; then the answer begins without a word.

    Raises:
        ReportedError: The job ended without a word.
        DrainingError: This process stops.
        UnauthenticatedError: The client's credential was revoked meanwhile.
        JobCancelledError: The client has gone.

    """
    begun: list[Event] = []
    async with until_disconnect(receive):
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s), aclosing(reader.events()) as batches:
                async for events in batches:
                    begun += events
                    if _has_word(events):
                        break
                else:
                    raise parting_error(reader)
    return _unbroken(reader, begun)


def _has_word(events: Sequence[Event]) -> bool:
    """Tell whether events bring a piece of the answer.

    Raises:
        ReportedError: They bring its end instead.

    """
    for event in events:
        if event.kind in PIECES:
            return True
        if event.kind == _ERROR:
            raise ReportedError(_errors.decode(event.payload).error)
    return False


async def _unbroken(reader: Reader, begun: list[Event]) -> AsyncGenerator[list[Event]]:
    """Yield events up to a terminal one; an error where they cannot go on as one answer."""
    has_spoken = False
    async for batch in _all_events(reader, begun):
        events = batch
        restarts = [place for place, event in enumerate(events) if event.kind == _RESUMED and _is_restart(event)]
        if restarts and has_spoken:
            broken = _error_event(WorkerLostError("The answer broke off and cannot go on: ask again."))
            yield [*events[: restarts[0]], broken]
            return
        if restarts:
            events = _without_pieces_before(events, restarts[-1])
        has_spoken = has_spoken or any(event.kind in PIECES for event in events)
        yield events
    if not reader.ended:
        yield [_error_event(parting_error(reader))]


def _without_pieces_before(events: Sequence[Event], place: int) -> list[Event]:
    return [*(event for event in events[:place] if event.kind not in PIECES), *events[place:]]


def _is_restart(event: Event) -> bool:
    return _resumptions.decode(event.payload).mode == "restarted"


async def _all_events(reader: Reader, begun: list[Event]) -> AsyncGenerator[list[Event]]:
    if begun:
        yield begun
    async for events in reader.events():
        yield events


def _error_event(error: DeeperSensorError) -> Event:
    return Event(0, _ERROR, encode_payload(describe(error)))
