"""Opens what the gateway needs, in order, and closes it in reverse.

Nothing is dialled here: Redis and PostgreSQL connect at first use, so that an outage at start is an error per request
and not a gateway that does not come up.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from litestar import Litestar
from msgspec import structs

from gateway.client_address import ClientAddress
from gateway.dependencies import GatewayState
from gateway.settings import GatewaySettings
from shared import redis_client
from shared.clock import SystemClock
from shared.database import engine


@asynccontextmanager
async def open_state(settings: GatewaySettings) -> AsyncGenerator[GatewayState]:
    """Yield the state of a gateway process; everything in it is closed at the end."""
    async with AsyncExitStack() as stack:
        redis = redis_client.connect(settings.redis.redis_url, role="gateway")
        stack.push_async_callback(redis.aclose)
        database = engine.connect(settings.database.database_url, role="gateway")
        stack.push_async_callback(database.close)
        yield GatewayState(
            settings=settings,
            clock=SystemClock(),
            redis=redis,
            database=database,
            client_address=ClientAddress(settings.server.trusted_proxy_ips),
        )


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncGenerator[None]:
    """Hold the state open while the application serves; handlers reach it through dependencies.py."""
    async with open_state(app.state.settings) as state:
        app.state.update(structs.asdict(state))
        yield
