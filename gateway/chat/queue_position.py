"""Tells waiting readers how they get on in the queue."""

import asyncio
import logging
from collections.abc import Sequence

from redis.exceptions import RedisError

from gateway.admission.admit import wait_ms
from gateway.models.catalog import ModelCatalog
from gateway.relay import Reader, Relay
from shared.events import Event, EventKind, Queued, encode_payload
from shared.job_queue import JobQueue
from shared.verdicts import Place

LOOK_EVERY_S = 1.0
NEAR_POSITION = 20  # up to here every change is told
FAR_EVERY_S = 10.0  # beyond, only changes of a tenth, and at most this often
FAR_CHANGE = 0.1

_log = logging.getLogger(__name__)


def queued_notice(reader: Reader, place: Place, *, slots: int) -> Event:
    """Return the `queued` event for a reader's place in the queue."""
    ahead = place.position - 1
    payload = Queued(
        job_id=reader.job_id,
        stream_url=reader.stream_url,
        position=place.position,
        ahead=ahead,
        estimated_wait_ms=wait_ms(ahead, place.service_ms, slots),
    )
    return Event(0, EventKind.QUEUED.value, encode_payload(payload))


class QueuePositions:
    """Looks up the places of all waiting readers of this process in one pipeline a second."""

    def __init__(self, queue: JobQueue, relay: Relay, catalog: ModelCatalog) -> None:
        self._queue = queue
        self._relay = relay
        self._catalog = catalog

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            waiting = [reader for reader in self._relay.readers() if reader.waits]
            try:
                await self.tell(waiting)
            except RedisError as error:
                _log.warning("positions_unread", extra={"error": str(error)})

    async def tell(self, readers: Sequence[Reader]) -> None:
        """Tell those who wait where they stand, if that is news to them.

        Raises:
            RedisError: Redis is out of reach.

        """
        if not readers:
            return
        places = await self._queue.places([(reader.model, reader.job_id) for reader in readers])
        for reader, place in zip(readers, places, strict=True):
            if place is not None and _is_news(reader, place.position):
                reader.told_position = place.position
                slots = self._catalog.registry.slots(reader.model)
                reader.notify(queued_notice(reader, place, slots=slots))


def _is_news(reader: Reader, position: int) -> bool:
    change = abs(position - reader.told_position)
    if position <= NEAR_POSITION:
        return change > 0
    return change >= reader.told_position * FAR_CHANGE and reader.quiet_for_s() >= FAR_EVERY_S
