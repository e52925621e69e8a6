"""`/health`: this process serves. `/health/ready`: what it needs to serve well is there, and how fast it answers."""

import asyncio
from typing import Literal

from litestar import Response, Router, route
from litestar.enums import HttpMethod
from litestar.status_codes import HTTP_200_OK, HTTP_503_SERVICE_UNAVAILABLE
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.access import Access
from gateway.dependencies import Injected
from gateway.operation import Answer, Operation
from gateway.settings import GatewaySettings
from shared import redis_keys
from shared.clock import Clock
from shared.database.engine import Database
from shared.errors import StoreUnavailableError

PROBE_AGAIN_AFTER_S = 2
GET_OR_HEAD = (HttpMethod.GET, HttpMethod.HEAD)  # some probes ask for no body; the server sends none then
CHECK_TIMEOUT_S = 2.0  # a probe that waits longer than its prober tells nothing


class Health(Struct, frozen=True):
    """That this process serves, and which build it is."""

    status: Literal["ok"]
    name: str
    git_sha: str


class Check(Struct, frozen=True):
    """One thing that the gateway needs; `latency_ms` is None when it did not answer."""

    ok: bool
    latency_ms: float | None


class Readiness(Struct, frozen=True):
    """Whether requests should come here.

    `degraded` means that some of them will fail or wait: PostgreSQL is out of reach, or no worker is alive.
    """

    status: Literal["ok", "degraded", "unavailable"]
    redis: Check
    postgresql: Check
    live_workers: int


@route("/", http_method=GET_OR_HEAD, summary="Show that this process serves", access=Access.PUBLIC)
async def show_health(settings: Injected[GatewaySettings]) -> Health:
    """Answer as long as the process can."""
    return Health(status="ok", name=settings.app.app_name, git_sha=settings.app.git_sha)


@route(
    "/ready",
    http_method=GET_OR_HEAD,
    summary="Show whether requests should come here",
    access=Access.PUBLIC,
    operation=Operation(
        answers={
            HTTP_200_OK: Answer("Requests are welcome.", Readiness),
            HTTP_503_SERVICE_UNAVAILABLE: Answer(
                "Redis is out of reach: nothing would work.", Readiness, headers=["Retry-After"]
            ),
        }
    ),
)
async def show_readiness(
    redis: Injected[Redis], database: Injected[Database], clock: Injected[Clock]
) -> Response[Readiness]:
    """Ask Redis, PostgreSQL and the register of workers; 503 only without Redis, since nothing works then."""
    (redis_check, live_workers), postgresql_check = await asyncio.gather(
        _check_redis(redis, clock), _check_postgresql(database, clock)
    )
    if not redis_check.ok:
        status = "unavailable"
    elif not postgresql_check.ok or not live_workers:
        status = "degraded"
    else:
        status = "ok"
    readiness = Readiness(status, redis_check, postgresql_check, live_workers)
    if redis_check.ok:
        return Response(readiness)
    return Response(
        readiness, status_code=HTTP_503_SERVICE_UNAVAILABLE, headers={"Retry-After": str(PROBE_AGAIN_AFTER_S)}
    )


async def _check_redis(redis: Redis, clock: Clock) -> tuple[Check, int]:
    """The count of workers whose lease runs is the question, so that one round trip answers both."""
    started_s = clock.monotonic_s()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            live_workers: int = await redis.zcount(redis_keys.WORKERS, clock.now_ms(), "+inf")
    except (RedisError, OSError, TimeoutError):
        return Check(ok=False, latency_ms=None), 0
    return _answered(started_s, clock), live_workers


async def _check_postgresql(database: Database, clock: Clock) -> Check:
    started_s = clock.monotonic_s()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await database.ping()
    except (StoreUnavailableError, TimeoutError):
        return Check(ok=False, latency_ms=None)
    return _answered(started_s, clock)


def _answered(started_s: float, clock: Clock) -> Check:
    return Check(ok=True, latency_ms=round((clock.monotonic_s() - started_s) * 1000, 3))


health_routes = Router("/health", route_handlers=[show_health, show_readiness], tags=["operators"])
