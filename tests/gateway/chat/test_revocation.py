"""Streams of whoever is revoked end when that is heard, and are looked at now and then in case it is not."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, update

from gateway.accounts.identities import Identities
from gateway.admission.limits import Limits
from gateway.chat.revocation import Revocation
from gateway.relay import Reader, Relay
from shared.credential import Credential, CredentialKind
from shared.database.engine import Database
from shared.database.tables import sessions as table
from shared.database.users import User
from shared.ids import new_id
from shared.revocations import Revocations
from tests.clocks import TurnedClock
from tests.jobs import MODEL
from tests.sessions import begin
from tests.waiting import wait_until

NEVER_S = 3600.0


@asynccontextmanager
async def reading(
    redis: Redis, database: Database, credential: Credential, *, check_every_s: float
) -> AsyncGenerator[tuple[Revocation, Reader]]:
    relay = Relay(redis)
    identities = Identities(database=database, revocations=Revocations(redis), clock=TurnedClock(), limits=Limits())
    revocation = Revocation(relay, identities, check_every_s=check_every_s)
    running = asyncio.create_task(revocation.run())
    with relay.read(new_id(), MODEL) as reader:
        reader.credential, reader.may_part = credential, True
        yield revocation, reader
    running.cancel()


@pytest.fixture
async def credential(database: Database, ada: User) -> Credential:
    async with database.transaction() as connection:
        return Credential(CredentialKind.SESSION, await begin(connection, ada))


async def revoke(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(update(table).values(revoked_at=func.now()))


async def test_a_revocation_that_is_heard_is_not_waited_for(
    redis: Redis, database: Database, credential: Credential
) -> None:
    async with reading(redis, database, credential, check_every_s=NEVER_S) as (revocation, reader):
        await revoke(database)
        revocation.hurry()
        await wait_until(lambda: reader.has_parted, description="the stream ends")


async def test_one_that_is_not_heard_is_found(redis: Redis, database: Database, credential: Credential) -> None:
    async with reading(redis, database, credential, check_every_s=0.01) as (_, reader):
        await revoke(database)
        await wait_until(lambda: reader.has_parted, description="the stream ends")


async def test_who_is_not_revoked_reads_on(redis: Redis, database: Database, credential: Credential) -> None:
    async with reading(redis, database, credential, check_every_s=NEVER_S) as (revocation, reader):
        await revocation.check()
        assert not reader.has_parted
