"""Opens what the commands work with."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from gateway.accounts.passwords import Passwords
from gateway.accounts.removal import Removal
from gateway.api_keys.keyring import Keyring
from gateway.operators.settings import OperatorSettings
from gateway.operators.users import UserOffice
from shared import redis_client
from shared.clock import SystemClock
from shared.database import engine
from shared.erasure import Erasure
from shared.job_queue import JobQueue
from shared.revocations import Revocations


class Office(Struct, frozen=True):
    """What operators can do."""

    users: UserOffice
    keyring: Keyring


@asynccontextmanager
async def opened(settings: OperatorSettings) -> AsyncGenerator[Office]:
    """Yield an office; nothing is dialled before it is needed."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(redis_client.connect(settings.redis.redis_url, role="operator"))
        database = engine.connect(settings.database.database_url, role="operator")
        stack.push_async_callback(database.close)
        revocations = Revocations(redis)
        yield Office(
            users=UserOffice(
                database=database,
                passwords=Passwords(min_length=settings.accounts.password_min_length),
                removal=Removal(
                    database=database, queue=JobQueue(redis), erasure=Erasure(redis), revocations=revocations
                ),
                revocations=revocations,
                clock=clock,
            ),
            keyring=Keyring(
                database=database,
                revocations=revocations,
                secret=settings.accounts.api_key_secret,
                clock=clock,
            ),
        )
