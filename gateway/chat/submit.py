"""Takes a chat from its request to the queue, and its reader from there to the end of the answer."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from msgspec import Struct

from gateway.admission.accept import DurableGate
from gateway.admission.admit import Admission, Gate
from gateway.admission.attendance import LEASE_MS, Attendance
from gateway.admission.limited_routes import charge_address
from gateway.admission.open_streams import OpenStreams
from gateway.admission.rate_limit import LimitState
from gateway.chat.idempotency import HEADER as KEY_HEADER
from gateway.chat.look_up import JobDesk
from gateway.chat.order import Order, OrderDesk
from gateway.chat.queue_position import queued_notice
from gateway.chat.resume import Resumption
from gateway.chat.schemas import ChatJob
from gateway.chat.stream_links import StreamLinks
from gateway.metrics.reply_meter import ReplyMeter
from gateway.models.catalog import ModelCatalog
from gateway.principal import AuthenticatedRequest, Principal
from gateway.relay import Reader, Relay
from shared.errors import IdempotencyMismatchError, InvalidRequestError
from shared.verdicts import Place


class Submission(Struct, frozen=True):
    """An admitted job with its reader."""

    job_id: str
    reader: Reader
    limits: tuple[LimitState, ...]
    is_replay: bool  # whether the job was there already, for the same idempotency key
    has_ended: bool = False  # whether all of its answer is there


class Acceptance(Struct, frozen=True):
    """A job that will run."""

    job: ChatJob
    limits: tuple[LimitState, ...]
    is_replay: bool  # as in Submission


class ChatDesk:
    """Submits orders for the handlers, whatever surface they came by.

    Args:
        orders: Takes them down.
        relay: Where the events of jobs arrive.
        gate: The way into the queue.
        durable_gate: The way into it by PostgreSQL.
        jobs: Tells how jobs stand.
        catalog: Which models there are.
        attendance: Where readers sign off.
        open_streams: Where streams are kept open.
        resumption: Reads jobs that are there already.
        links: Makes a stream's address known.
        new_meter: Begins to measure a reply of a model.

    """

    def __init__(
        self,
        *,
        orders: OrderDesk,
        relay: Relay,
        gate: Gate,
        durable_gate: DurableGate,
        jobs: JobDesk,
        catalog: ModelCatalog,
        attendance: Attendance,
        open_streams: OpenStreams,
        resumption: Resumption,
        links: StreamLinks,
        new_meter: Callable[..., ReplyMeter],
    ) -> None:
        self.orders = orders
        self._relay = relay
        self._gate = gate
        self._durable_gate = durable_gate
        self._jobs = jobs
        self._catalog = catalog
        self._attendance = attendance
        self._open_streams = open_streams
        self._resumption = resumption
        self._links = links
        self._new_meter = new_meter

    @asynccontextmanager
    async def submit(self, request: AuthenticatedRequest, order: Order) -> AsyncGenerator[Submission]:
        """Enqueue an order and read its job inside the block; leaving early counts as the reader's going away.

        A durable one is accepted as by `accept`: its job needs no reader. A request whose idempotency key stands for a
        job already reads that one, from its start. Where the answer is a stream, the reader is shown its place in the
        queue.

        Args:
            request: What the order was taken from.
            order: What is asked for.

        Raises:
            IdempotencyMismatchError: The key stands for another request; this is charged to the client's address, and
                so are the next two.
            ConversationFullError: The conversation is as long as one may be.
            ConversationBusyError: It has yet to be answered in.
            RateLimitedError: A rate limit is used up.
            ConcurrencyLimitedError: There are as many jobs or streams as there may be.
            QueueFullError: The model's queue is full.
            StoreUnavailableError: Redis is out of reach.

        """
        job = order.job
        meter = self._new_meter(job.model, counts=not job.is_durable)
        # Reading begins before the job is in the queue, so that nothing live is missed.
        with self._relay.read(job.id, job.model, grace_ms=order.grace_ms, observe=meter.saw) as reader:
            admission = await self._enqueue(request, order)
            if admission.place is not None:
                reader.is_durable = job.is_durable
                reader.resubmit = None if job.is_durable else self._resubmission(order)
                if order.is_stream:
                    reader.credential = request.user.credential
                    self._announce(reader, admission.place, request.user)
                try:
                    with self._open_streams.sending(order.demand):
                        yield Submission(job.id, reader, admission.limits, is_replay=False)
                finally:
                    meter.left()
                    if not reader.ended:
                        self._attendance.leave(job.id, grace_ms=order.grace_ms)
                return
        with self._open_streams.sending(order.demand):
            place = await self._resumption.find(admission.job_id, request.user)
            stream_url = self._links.to(admission.job_id, credential=request.user.credential)
            async with self._resumption.read(place, stream_url=stream_url) as reader:
                if order.is_stream:
                    reader.credential = request.user.credential
                yield Submission(
                    admission.job_id, reader, admission.limits, is_replay=True, has_ended=place.tail.has_ended
                )

    async def accept(self, request: AuthenticatedRequest, order: Order) -> Acceptance:
        """Accept a durable order as a job that runs to its end whoever reads it, and outlives Redis.

        Raises:
            UnauthenticatedError: The user is gone.
            StoreUnavailableError: Redis or PostgreSQL is out of reach.
            DeeperSensorError: What `submit` raises besides.

        """
        job = order.job
        admission = await self._enqueue(request, order)
        if admission.place is None:
            found = await self._jobs.find(admission.job_id, request.user)
            if not found.is_durable:
                raise IdempotencyMismatchError("This key was sent with a request for an answer.", param=KEY_HEADER)
            return Acceptance(found, admission.limits, is_replay=True)
        accepted = self._jobs.of_new(job, request.user, position=admission.place.position)
        return Acceptance(accepted, admission.limits, is_replay=False)

    async def _enqueue(self, request: AuthenticatedRequest, order: Order) -> Admission:
        try:
            return await self._pass_gate(order)
        except InvalidRequestError:
            await charge_address(request.scope)
            raise

    async def _pass_gate(self, order: Order) -> Admission:
        job = order.job
        slots = self._catalog.registry.slots(job.model)
        if job.is_durable:
            return await self._durable_gate.accept(
                job,
                demand=order.demand,
                channel=self._relay.channel,
                slots=slots,
                queue_timeout_ms=order.queue_timeout_ms,
                idempotency=order.idempotency,
                turn=order.turn,
            )
        return await self._gate.admit(
            job,
            demand=order.demand,
            channel=self._relay.channel,
            slots=slots,
            queue_timeout_ms=order.queue_timeout_ms,
            unattended_ms=LEASE_MS if order.needs_readers else 0,
            grace_ms=order.grace_ms,
            idempotency=order.idempotency,
        )

    def _resubmission(self, order: Order) -> Callable[[], Awaitable[None]]:
        return partial(
            self._gate.resubmit,
            order.job,
            demand=order.demand,
            channel=self._relay.channel,
            queue_timeout_ms=order.queue_timeout_ms,
            unattended_ms=LEASE_MS if order.needs_readers else 0,
            grace_ms=order.grace_ms,
            idempotency=order.idempotency,
            admitted_at_s=asyncio.get_running_loop().time(),
        )

    def _announce(self, reader: Reader, place: Place, principal: Principal) -> None:
        """Have the reader begin with `queued`."""
        reader.told_position = place.position
        reader.stream_url = self._links.to(reader.job_id, credential=principal.credential)
        reader.begin_with(queued_notice(reader, place, slots=self._catalog.registry.slots(reader.model)))
