"""Opens what the gateway needs, in order, and closes it in reverse.

Nothing is dialled here: Redis and PostgreSQL connect at first use, so that an outage at start is an error per request
and not a gateway that does not come up.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from socket import socket
from typing import Any

from litestar import Litestar
from msgspec import structs
from redis.asyncio import Redis

from gateway.accounts.access_tokens import AccessTokens
from gateway.accounts.assembly import open_accounts
from gateway.accounts.authenticate import TokenAuthenticator
from gateway.accounts.identities import Identities
from gateway.accounts.passwords import Passwords
from gateway.accounts.signing_keys import SigningKeys, temporary_secret
from gateway.admission.accept import DurableGate
from gateway.admission.admit import Gate
from gateway.admission.attendance import Attendance
from gateway.admission.limits import Limits
from gateway.admission.open_streams import OpenStreams
from gateway.admission.policy import LimitPolicy
from gateway.admission.rate_limit import RateLimiter
from gateway.admission.sweeper import Sweeper
from gateway.api_keys.keyring import Keyring
from gateway.api_keys.last_use import LastUse
from gateway.chat.cancel import Canceller
from gateway.chat.list_jobs import JobList
from gateway.chat.look_up import JobDesk
from gateway.chat.lost_readers import LostReaders
from gateway.chat.native_order import NativeDesk
from gateway.chat.order import OrderDesk
from gateway.chat.queue_position import QueuePositions
from gateway.chat.resume import Resumption
from gateway.chat.revocation import Revocation
from gateway.chat.schemas import ChatRequest
from gateway.chat.stream_links import StreamLinks
from gateway.chat.submit import ChatDesk
from gateway.client_address import ClientAddress
from gateway.conversations.deletion import Deletion
from gateway.conversations.desk import ConversationDesk
from gateway.draining import Draining
from gateway.durability.recorder import Recorder
from gateway.durability.restorer import Restorer
from gateway.durability.retention import forget_expired_sessions, forget_old_answers
from gateway.log_tail import LogTail
from gateway.metrics.declared import Metrics
from gateway.metrics.loop_lag import measure_loop_lag
from gateway.metrics.own_port import create_metrics_app, served_on
from gateway.metrics.reply_meter import ReplyMeter, count_durable
from gateway.metrics.scrape import Scraper
from gateway.models.catalog import ModelCatalog
from gateway.relay import Relay
from gateway.request_body import JsonBody
from gateway.settings import GatewaySettings
from gateway.state import GatewayState
from gateway.usage.report import UsageReport
from shared import redis_client, redis_keys
from shared.clock import SystemClock
from shared.database import engine
from shared.durable_queue import DurableQueue
from shared.ended_jobs import EndedJobs
from shared.erasure import Erasure
from shared.garbage import collect_rarely
from shared.job_queue import JobQueue
from shared.revocations import Revocations, published
from shared.subscription import Subscription


@asynccontextmanager
async def open_state(
    settings: GatewaySettings, metrics: Metrics, draining: Draining, metrics_listener: socket | None
) -> AsyncGenerator[GatewayState]:
    """Yield the state of a gateway process; everything in it is closed at the end."""
    retention_ms = settings.streams.stream_retention_secs * 1000
    limit_policy = LimitPolicy(settings.limits)
    client_address = ClientAddress(settings.server.trusted_proxy_ips)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(redis_client.connect(settings.redis.redis_url, role="gateway"))
        listening = await stack.enter_async_context(
            redis_client.connect(settings.redis.redis_url, role="gateway-relay", read_timeout_s=None)
        )
        database = engine.connect(settings.database.database_url, role="gateway")
        stack.push_async_callback(database.close)

        queue = JobQueue(redis)
        relay = Relay(redis)
        draining.begun.when_come(relay.part)
        draining.running_out.when_come(relay.close)
        catalog = ModelCatalog(redis, queue_without_workers=settings.queue.queue_without_workers)
        sweeper = Sweeper(queue)
        open_streams = OpenStreams(redis)
        attendance = Attendance(queue, relay, sweeper)
        waiting = await stack.enter_async_context(
            redis_client.connect(settings.redis.redis_url, role="gateway-tail", read_timeout_s=None)
        )
        log_tail = LogTail(redis, waiting, relay.offer)
        positions = QueuePositions(queue, relay, catalog)
        revocations = Revocations(redis)
        identities = Identities(
            database=database,
            revocations=revocations,
            clock=clock,
            limits=Limits.of(settings.limits) if settings.limits.rate_limit_enabled else None,
        )
        revocation = Revocation(relay, identities)
        keyring = Keyring(
            database=database, revocations=revocations, secret=settings.accounts.api_key_secret, clock=clock
        )
        last_use = LastUse(database)
        stack.push_async_callback(last_use.write)
        ended_jobs = EndedJobs(redis)
        recorder = Recorder(redis, ended_jobs, database, count=partial(count_durable, metrics))
        durable_queue = DurableQueue(
            redis,
            stream_retention_ms=retention_ms,
            answer_retention_ms=settings.queue.job_retention_days * 86_400_000,
        )
        restorer = Restorer(redis, durable_queue, database, channel=relay.channel)
        subscription = await subscribe(
            listening,
            relay,
            {
                redis_keys.REGISTRY_CHANNEL: catalog.renew_soon,
                redis_keys.ENDS_CHANNEL: recorder.hurry,
                redis_keys.REVOCATIONS_CHANNEL: revocation.hurry,
            },
            revoked=identities.doubt,
        )
        await stack.enter_async_context(
            running(
                subscription.run(),
                relay.watch(),
                catalog.run(),
                sweeper.run(),
                attendance.run(),
                open_streams.run(),
                positions.run(),
                log_tail.run(),
                LostReaders(relay, database).run(),
                revocation.run(),
                last_use.run(),
                recorder.run(),
                restorer.run(),
                forget_old_answers(database, retention_days=settings.queue.job_retention_days),
                forget_expired_sessions(database, clock),
                measure_loop_lag(metrics, clock),
            )
        )
        scraper = Scraper(metrics, redis, catalog)
        if metrics_listener:
            app = create_metrics_app(scraper, settings.metrics, settings.server)
            await stack.enter_async_context(served_on(metrics_listener, app, settings.server))
        keys = SigningKeys(
            settings.accounts.jwt_secret or temporary_secret(), previous=settings.accounts.jwt_secret_previous
        )
        links = StreamLinks(
            keys=keys,
            public_url=settings.server.public_url,
            valid_s=settings.queue.longest_job_s + settings.streams.stream_retention_secs,
            clock=clock,
        )
        tokens = AccessTokens(
            keys=keys,
            issuer=settings.accounts.jwt_issuer,
            ttl_s=settings.accounts.jwt_access_ttl_secs,
            clock=clock,
        )
        accounts = open_accounts(
            settings.accounts,
            redis=redis,
            database=database,
            queue=queue,
            revocations=revocations,
            keys=keys,
            access_tokens=tokens,
            passwords=Passwords(min_length=settings.accounts.password_min_length),
            clock=clock,
            limits_addresses=settings.limits.rate_limit_enabled,
        )
        jobs = JobDesk(redis=redis, queue=queue, database=database, links=links)
        resumption = Resumption(
            redis=redis,
            database=database,
            queue=queue,
            relay=relay,
            log_tail=log_tail,
            attendance=attendance,
            positions=positions,
            grace_ms=settings.queue.disconnect_grace_secs * 1000,
        )
        chats = ChatDesk(
            orders=OrderDesk(
                catalog=catalog, limits=limit_policy, client_address=client_address, settings=settings.queue
            ),
            relay=relay,
            gate=Gate(queue, settings.queue, retention_ms=retention_ms),
            durable_gate=DurableGate(durable_queue, database, settings.queue),
            jobs=jobs,
            catalog=catalog,
            attendance=attendance,
            open_streams=open_streams,
            resumption=resumption,
            links=links,
            new_meter=partial(ReplyMeter, metrics, clock),
        )
        canceller = Canceller(queue, database, restorer)
        yield GatewayState(
            settings=settings,
            clock=clock,
            redis=redis,
            database=database,
            client_address=client_address,
            limit_policy=limit_policy,
            rate_limiter=RateLimiter(redis),
            open_streams=open_streams,
            scraper=scraper,
            authenticator=TokenAuthenticator(
                tokens=tokens, keyring=keyring, last_use=last_use, identities=identities, clock=clock
            ),
            keyring=keyring,
            usage_report=UsageReport(database=database, clock=clock),
            revocations=revocations,
            registration=accounts.registration,
            sessions=accounts.sessions,
            own_account=accounts.own_account,
            catalog=catalog,
            chats=chats,
            native=NativeDesk(
                chats=chats,
                body=JsonBody(ChatRequest, may_carry_images=True),
                database=database,
                most_bytes=settings.server.max_chat_request_size_bytes,
            ),
            jobs=jobs,
            job_list=JobList(queue=queue, database=database),
            canceller=canceller,
            resumption=resumption,
            links=links,
            conversations=ConversationDesk(database),
            deletion=Deletion(database, Erasure(redis), canceller),
        )


async def subscribe(
    redis: Redis, relay: Relay, news: Mapping[str, Callable[[], None]], *, revoked: Callable[[list[str]], None]
) -> Subscription:
    """Return the one subscription of this process, which still has to be run.

    Args:
        redis: Of this subscription's own.
        relay: Hears of its jobs.
        news: By channel, whom to tell that there is something to look at, or may have been.
        revoked: Hears which credentials are revoked.

    """

    def deliver(channel: str, data: bytes) -> None:
        if channel == relay.channel:
            relay.deliver(data)
            return
        if channel == redis_keys.REVOCATIONS_CHANNEL:
            revoked(published(data))
        news[channel]()

    def resubscribed(channel: str) -> None:
        if channel == relay.channel:
            relay.resubscribed()
        else:
            news[channel]()

    subscription = Subscription(redis, on_message=deliver, on_subscribed=resubscribed)
    await subscription.follow([relay.channel, *news])
    return subscription


@asynccontextmanager
async def running(*endless: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run background work inside the block; an end of any of it is a bug and ends the process."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in endless]
        yield
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncGenerator[None]:
    """Hold the state open while the application serves; handlers ask for its fields by name."""
    given = app.state
    async with open_state(given.settings, given.metrics, given.draining, given.metrics_listener) as state:
        app.state.update(structs.asdict(state))
        collect_rarely()
        yield
