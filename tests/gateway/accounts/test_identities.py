import asyncio
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import pytest
from redis.asyncio import Redis
from sqlalchemy import delete, func, insert, update

from gateway.accounts.identities import Identities
from gateway.admission.limits import LEAST, Limits, Priority
from shared.credential import Credential, CredentialKind
from shared.database import users
from shared.database.engine import Database, connect
from shared.database.tables import api_keys
from shared.database.tables import sessions as session_table
from shared.database.tables import users as table
from shared.database.users import Role
from shared.errors import StoreUnavailableError, UnauthenticatedError
from shared.ids import new_id
from shared.redis_client import connect as connect_redis
from shared.revocations import FRESH_S, GRACE_S, Revocations, everything_of
from tests.clocks import TurnedClock
from tests.databases import SwitchedDatabase
from tests.sessions import begin

LIMITS = Limits(requests_per_minute=60)


@pytest.fixture
async def nobody(free_port: int) -> AsyncGenerator[Database]:
    """A database that is not there."""
    database = connect(f"postgresql://nobody@127.0.0.1:{free_port}/nothing", role="test")
    yield database
    await database.close()


class Somebody(NamedTuple):
    """Somebody who has logged in."""

    id: str
    credential: Credential


async def log_in(database: Database, name: str, *, role: Role = Role.USER, valid_s: int = 86_400) -> Somebody:
    async with database.transaction() as connection:
        user = await users.create(connection, email=f"{name}@example.org", password_hash="-", role=role)
        session_id = await begin(connection, user, valid_s=valid_s)
    return Somebody(user.id, Credential(CredentialKind.SESSION, session_id))


async def set_limits(database: Database, somebody: Somebody, limits: object) -> None:
    async with database.transaction() as connection:
        await connection.execute(update(table).where(table.c.id == somebody.id).values(limits=limits))


async def new_key(database: Database, somebody: Somebody, *, limits: dict[str, Any]) -> Credential:
    id_ = new_id()
    row = {
        "id": id_,
        "user_id": somebody.id,
        "name": "-",
        "prefix": "-",
        "digest": b"-",
        "scopes": [],
        "limits": limits,
    }
    async with database.transaction() as connection:
        await connection.execute(insert(api_keys).values(row))
    return Credential(CredentialKind.KEY, id_)


def unknown() -> Credential:
    return Credential(CredentialKind.SESSION, new_id())


@pytest.fixture
async def ada(database: Database) -> Somebody:
    return await log_in(database, "ada", role=Role.ADMIN)


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def switch(database: Database) -> SwitchedDatabase:
    return SwitchedDatabase(database)


@pytest.fixture
def revocations(redis: Redis) -> Revocations:
    return Revocations(redis)


@pytest.fixture
def identities(switch: SwitchedDatabase, revocations: Revocations, clock: TurnedClock) -> Identities:
    return Identities(database=switch, revocations=revocations, clock=clock, limits=LIMITS)


async def test_a_principal_is_what_postgresql_says_of_the_user(identities: Identities, ada: Somebody) -> None:
    principal = await identities.find(ada.credential)
    assert (principal.user_id, principal.role, principal.limits) == (ada.id, Role.ADMIN, LIMITS)


async def test_what_a_users_row_says_of_their_limits_counts(
    identities: Identities, database: Database, ada: Somebody
) -> None:
    said = {"requests_per_minute": 5, "priority": "batch", "open_streams": None}
    await set_limits(database, ada, said)

    principal = await identities.find(ada.credential)

    assert principal.limits == Limits(requests_per_minute=5, priority=Priority.BATCH)
    assert principal.is_batch


@pytest.mark.parametrize("said", [{"requests_per_minute": 0}, {"requests": 5}, [], "60"], ids=str)
async def test_who_has_limits_that_cannot_be_read_has_the_least_there_are(
    identities: Identities, database: Database, ada: Somebody, caplog: pytest.LogCaptureFixture, said: object
) -> None:
    """Whoever wrote them wanted to lower something, perhaps to nothing."""
    await set_limits(database, ada, said)

    assert (await identities.find(ada.credential)).limits == LEAST
    assert "limits_unreadable" in caplog.messages


async def test_an_api_key_has_limits_beside_its_owners(
    identities: Identities, database: Database, ada: Somebody
) -> None:
    key = await new_key(database, ada, limits={"tokens_per_minute": 7, "priority": "batch"})

    principal = await identities.find(key)

    assert principal.limits == LIMITS
    assert principal.key
    assert principal.key.limits == Limits(tokens_per_minute=7, priority=Priority.BATCH)
    assert principal.effective_limits == Limits(60, 7, priority=Priority.BATCH)
    assert principal.is_batch


async def test_where_nothing_is_limited_rows_limit_nothing_either_but_batches_stay_that(
    switch: SwitchedDatabase, revocations: Revocations, clock: TurnedClock, database: Database, ada: Somebody
) -> None:
    await set_limits(database, ada, {"requests_per_minute": 5, "priority": "batch"})
    identities = Identities(database=switch, revocations=revocations, clock=clock, limits=None)

    assert (await identities.find(ada.credential)).limits == Limits(priority=Priority.BATCH)


async def test_postgresql_is_asked_again_only_after_some_seconds(
    identities: Identities, switch: SwitchedDatabase, clock: TurnedClock, ada: Somebody
) -> None:
    await identities.find(ada.credential)
    clock.ahead_s = FRESH_S - 1
    await identities.find(ada.credential)
    assert switch.asked == 1
    clock.ahead_s = FRESH_S + 1
    await identities.find(ada.credential)
    assert switch.asked == 2


async def test_many_who_ask_at_once_ask_once(identities: Identities, switch: SwitchedDatabase, ada: Somebody) -> None:
    found = await asyncio.gather(*(identities.find(ada.credential) for _ in range(50)))
    assert {principal.user_id for principal in found} == {ada.id}
    assert switch.asked == 1


async def test_one_who_gives_up_does_not_take_the_others_along(identities: Identities, ada: Somebody) -> None:
    first, second = (asyncio.create_task(identities.find(ada.credential)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).user_id == ada.id


async def test_nobody_is_found_under_an_unknown_id(identities: Identities) -> None:
    with pytest.raises(UnauthenticatedError):
        await identities.find(unknown())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(update(table).values(disabled_at=func.now()), id="disabled"),
        pytest.param(delete(table), id="deleted"),
        pytest.param(update(session_table).values(revoked_at=func.now()), id="session revoked"),
        pytest.param(delete(session_table), id="session forgotten"),
    ],
)
async def test_a_user_is_out_some_seconds_after(
    identities: Identities, database: Database, clock: TurnedClock, ada: Somebody, change: object
) -> None:
    await identities.find(ada.credential)
    async with database.transaction() as connection:
        await connection.execute(change)  # pyright: ignore[reportArgumentType, reportCallIssue]  either statement
    clock.ahead_s = FRESH_S + 1
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            await identities.find(ada.credential)


async def test_of_many_those_are_confirmed_who_are_in_good_standing_and_by_one_transaction(
    identities: Identities, switch: SwitchedDatabase, database: Database, clock: TurnedClock, ada: Somebody
) -> None:
    bob, eve, joan, kim = [await log_in(database, name) for name in ("bob", "eve", "joan", "kim")]
    brief = await log_in(database, "brief", valid_s=60)
    async with database.transaction() as connection:
        await connection.execute(update(table).where(table.c.id == eve.id).values(disabled_at=func.now()))
        await connection.execute(delete(table).where(table.c.id == joan.id))
        revoke = update(session_table).where(session_table.c.user_id == kim.id)
        await connection.execute(revoke.values(revoked_at=func.now()))
    clock.ahead_s = 61

    everybody = {somebody.credential for somebody in (ada, bob, eve, joan, kim, brief)}
    assert await identities.confirm({*everybody, unknown()}) == {ada.credential, bob.credential}
    assert switch.asked == 1


async def test_a_credential_that_expires_is_out_to_the_second_also_from_the_cache(
    identities: Identities, database: Database, clock: TurnedClock
) -> None:
    brief = await log_in(database, "brief", valid_s=3600)
    clock.ahead_s = 3598
    await identities.find(brief.credential)
    clock.ahead_s = 3601
    with pytest.raises(UnauthenticatedError):
        await identities.find(brief.credential)


async def test_who_is_confirmed_no_more_is_not_found_either_from_then_on(
    identities: Identities, database: Database, ada: Somebody
) -> None:
    await identities.find(ada.credential)
    async with database.transaction() as connection:
        await connection.execute(delete(table))

    assert await identities.confirm({ada.credential}) == set()

    with pytest.raises(UnauthenticatedError):
        await identities.find(ada.credential)


async def test_nobody_is_asked_about_when_nobody_reads(identities: Identities, switch: SwitchedDatabase) -> None:
    assert await identities.confirm(set()) == set()
    assert switch.asked == 0


@pytest.mark.parametrize("fault", ["nobody", "silence"])
async def test_without_postgresql_those_it_knew_are_confirmed_for_a_while(
    identities: Identities,
    switch: SwitchedDatabase,
    clock: TurnedClock,
    ada: Somebody,
    fault: str,
    nobody: Database,
    silence: Database,
) -> None:
    await identities.find(ada.credential)
    switch.target = {"nobody": nobody, "silence": silence}[fault]

    clock.ahead_s = GRACE_S - 5
    assert await identities.confirm({ada.credential, unknown()}) == {ada.credential}
    clock.ahead_s = GRACE_S + 5
    assert await identities.confirm({ada.credential}) == set()


async def test_without_postgresql_those_it_knew_go_on_for_a_while(
    identities: Identities, switch: SwitchedDatabase, clock: TurnedClock, nobody: Database, ada: Somebody
) -> None:
    await identities.find(ada.credential)
    switch.target = nobody
    clock.ahead_s = GRACE_S - 1
    assert (await identities.find(ada.credential)).user_id == ada.id
    clock.ahead_s = GRACE_S + FRESH_S + 1
    with pytest.raises(StoreUnavailableError):
        await identities.find(ada.credential)


async def test_a_database_that_hangs_is_as_good_as_none(
    identities: Identities, switch: SwitchedDatabase, clock: TurnedClock, silence: Database, ada: Somebody
) -> None:
    await identities.find(ada.credential)
    switch.target = silence
    clock.ahead_s = FRESH_S + 1
    assert (await identities.find(ada.credential)).user_id == ada.id
    clock.ahead_s = GRACE_S + FRESH_S + 1
    with pytest.raises(StoreUnavailableError):
        await identities.find(ada.credential)


async def test_without_postgresql_strangers_are_asked_to_come_back(
    identities: Identities, switch: SwitchedDatabase, nobody: Database, ada: Somebody
) -> None:
    switch.target = nobody
    with pytest.raises(StoreUnavailableError):
        await identities.find(ada.credential)


async def test_a_user_disabled_during_an_outage_is_out_after_it(
    identities: Identities,
    switch: SwitchedDatabase,
    database: Database,
    clock: TurnedClock,
    nobody: Database,
    ada: Somebody,
) -> None:
    await identities.find(ada.credential)
    switch.target = nobody
    clock.ahead_s = FRESH_S + 1
    await identities.find(ada.credential)
    async with database.transaction() as connection:
        await connection.execute(update(table).values(disabled_at=func.now()))
    switch.target = database
    clock.ahead_s = 2 * FRESH_S + 2
    with pytest.raises(UnauthenticatedError):
        await identities.find(ada.credential)


async def test_what_lets_nobody_in_is_not_asked_about_again_at_once(
    identities: Identities, switch: SwitchedDatabase, clock: TurnedClock
) -> None:
    stranger = unknown()
    for _ in range(3):
        with pytest.raises(UnauthenticatedError):
            await identities.find(stranger)
    assert switch.asked == 1
    clock.ahead_s = FRESH_S + 1
    with pytest.raises(UnauthenticatedError):
        await identities.find(stranger)
    assert switch.asked == 2


@pytest.mark.parametrize("whole_user", [False, True], ids=["one credential", "all that the user has"])
async def test_a_revocation_that_is_heard_of_is_effective_at_once(
    identities: Identities, database: Database, ada: Somebody, *, whole_user: bool
) -> None:
    await identities.find(ada.credential)
    async with database.transaction() as connection:
        await connection.execute(update(session_table).values(revoked_at=func.now()))

    identities.doubt([everything_of(ada.id) if whole_user else str(ada.credential)])

    with pytest.raises(UnauthenticatedError):
        await identities.find(ada.credential)


async def test_nobody_else_is_asked_about_because_of_it(
    identities: Identities, switch: SwitchedDatabase, database: Database, ada: Somebody
) -> None:
    bob = await log_in(database, "bob")
    await identities.find(ada.credential)
    await identities.find(bob.credential)
    asked = switch.asked

    identities.doubt([str(ada.credential), everything_of(ada.id), everything_of(new_id()), "nonsense", ""])
    await identities.find(bob.credential)

    assert switch.asked == asked


@pytest.mark.parametrize("whole_user", [False, True], ids=["one credential", "all that the user has"])
async def test_without_postgresql_who_is_revoked_in_redis_is_out(
    identities: Identities,
    switch: SwitchedDatabase,
    database: Database,
    revocations: Revocations,
    clock: TurnedClock,
    nobody: Database,
    ada: Somebody,
    *,
    whole_user: bool,
) -> None:
    bob = await log_in(database, "bob")
    for somebody in (ada, bob):
        await identities.find(somebody.credential)
    switch.target = nobody
    await revocations.revoke(everything_of(ada.id) if whole_user else str(ada.credential))

    clock.ahead_s = FRESH_S + 1
    with pytest.raises(UnauthenticatedError):
        await identities.find(ada.credential)
    assert (await identities.find(bob.credential)).user_id == bob.id
    assert await identities.confirm({ada.credential, bob.credential}) == {bob.credential}


async def test_without_either_store_nobody_comes_in_and_who_reads_goes_on(
    switch: SwitchedDatabase, clock: TurnedClock, nobody: Database, ada: Somebody, free_port: int
) -> None:
    async with connect_redis(f"redis://127.0.0.1:{free_port}/0", role="test") as nowhere:
        identities = Identities(database=switch, revocations=Revocations(nowhere), clock=clock, limits=LIMITS)
        await identities.find(ada.credential)
        switch.target = nobody

        clock.ahead_s = FRESH_S + 1
        with pytest.raises(StoreUnavailableError):
            await identities.find(ada.credential)
        assert await identities.confirm({ada.credential}) == {ada.credential}
