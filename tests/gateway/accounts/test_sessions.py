"""A session from its login to its end; everything is decided by one clock, and kept in PostgreSQL."""

import asyncio

import pytest
from argon2 import PasswordHasher
from redis.asyncio import Redis
from sqlalchemy import func, select, update

from gateway.accounts.identities import FRESH_S
from gateway.accounts.sessions import GRACE_S, TokenPair
from gateway.durability.retention import BATCH
from shared import redis_keys
from shared.database import sessions as session_rows
from shared.database.engine import Database
from shared.database.tables import sessions, users
from shared.database.users import User
from shared.errors import InvalidRequestError, UnauthenticatedError, WrongPasswordError
from tests.clocks import StandingClock
from tests.gateway.accounts.desk import ADDRESS, EMAIL, PASSWORD, REFRESH_TTL_S, AccountDesk
from tests.sessions import begin, now
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("owner")

NEXT_PASSWORD = "a quiet harbour at dusk"


async def log_in(desk: AccountDesk, password: str = PASSWORD) -> TokenPair:
    return await desk.sessions.log_in(email=EMAIL, password=password, address=ADDRESS)


async def refresh(desk: AccountDesk, token: str) -> TokenPair:
    return await desk.sessions.refresh(token, address=ADDRESS)


async def is_refused(desk: AccountDesk, token: str) -> bool:
    try:
        await refresh(desk, token)
    except UnauthenticatedError:
        return True
    return False


async def is_let_in(desk: AccountDesk, pair: TokenPair) -> bool:
    try:
        await desk.authenticator.authenticate(pair.access_token)
    except UnauthenticatedError:
        return False
    return True


def session_of(desk: AccountDesk, pair: TokenPair) -> str:
    return desk.tokens.verify(pair.access_token).session_id


async def test_each_refresh_gives_new_tokens_of_the_same_session(desk: AccountDesk) -> None:
    first = await log_in(desk)
    second = await refresh(desk, first.refresh_token)
    third = await refresh(desk, second.refresh_token)

    pairs = (first, second, third)
    assert len({pair.refresh_token for pair in pairs}) == len({pair.access_token for pair in pairs}) == 3
    assert len({session_of(desk, pair) for pair in pairs}) == 1
    assert [await is_let_in(desk, pair) for pair in pairs] == [True] * 3


async def test_a_client_that_did_not_hear_the_answer_gets_the_same_successor(
    desk: AccountDesk, standing_clock: StandingClock
) -> None:
    first = await log_in(desk)
    second = await refresh(desk, first.refresh_token)
    standing_clock.ahead_s += GRACE_S - 0.001

    again = await refresh(desk, first.refresh_token)

    assert again.refresh_token == second.refresh_token
    assert not await is_refused(desk, again.refresh_token)


async def test_a_spent_token_ends_the_session_whoever_sends_it(
    desk: AccountDesk, standing_clock: StandingClock
) -> None:
    first = await log_in(desk)
    second = await refresh(desk, first.refresh_token)
    standing_clock.ahead_s += GRACE_S

    assert await is_refused(desk, first.refresh_token)

    assert await is_refused(desk, second.refresh_token)
    assert not await is_let_in(desk, second)


async def test_the_grace_ends_when_the_successor_is_spent_as_well(desk: AccountDesk) -> None:
    first = await log_in(desk)
    second = await refresh(desk, first.refresh_token)
    third = await refresh(desk, second.refresh_token)

    assert await is_refused(desk, first.refresh_token)
    assert await is_refused(desk, third.refresh_token)


async def test_another_session_of_the_same_user_is_another_family(
    desk: AccountDesk, standing_clock: StandingClock
) -> None:
    stolen, other = await log_in(desk), await log_in(desk)
    await refresh(desk, stolen.refresh_token)
    standing_clock.ahead_s += GRACE_S
    assert await is_refused(desk, stolen.refresh_token)

    assert not await is_refused(desk, other.refresh_token)
    assert await is_let_in(desk, other)


async def test_of_many_refreshes_at_once_on_two_gateways_all_get_one_successor(
    desk: AccountDesk, database: Database, redis: Redis, standing_clock: StandingClock
) -> None:
    """Later it is spent once: had two moved the session on, the successor would be too old by now."""
    first = await log_in(desk)
    gateways = [desk, AccountDesk(database, redis, standing_clock)]

    pairs = await asyncio.gather(*(refresh(gateways[number % 2], first.refresh_token) for number in range(16)))

    (successor,) = {pair.refresh_token for pair in pairs}
    standing_clock.ahead_s += GRACE_S + 1
    assert not await is_refused(desk, successor)


async def test_a_session_ends_when_nobody_refreshes_it(desk: AccountDesk, standing_clock: StandingClock) -> None:
    pair = await log_in(desk)
    for _ in range(3):  # each refresh begins the time anew
        standing_clock.ahead_s += REFRESH_TTL_S - 1
        pair = await refresh(desk, pair.refresh_token)

    standing_clock.ahead_s += REFRESH_TTL_S
    assert await is_refused(desk, pair.refresh_token)


async def test_logging_out_ends_this_session_alone(
    desk: AccountDesk, owner: User, redis: Redis, standing_clock: StandingClock
) -> None:
    one, other = await log_in(desk), await log_in(desk)
    session_id = session_of(desk, one)

    await desk.sessions.log_out(owner.id, session_id)

    assert await redis.exists(f"{redis_keys.REVOKED}session:{session_id}") == 1
    standing_clock.ahead_s += FRESH_S
    assert not await is_let_in(desk, one)
    assert await is_refused(desk, one.refresh_token)
    assert await is_let_in(desk, other)


async def test_a_new_password_ends_every_other_session(
    desk: AccountDesk, owner: User, redis: Redis, standing_clock: StandingClock
) -> None:
    own, *others = [await log_in(desk) for _ in range(3)]
    credential = (await desk.authenticator.authenticate(own.access_token)).credential

    await desk.accounts.own_account.change_password(
        owner.id, current=PASSWORD, new=NEXT_PASSWORD, session=credential, address=ADDRESS
    )

    standing_clock.ahead_s += FRESH_S
    assert await is_let_in(desk, own)
    assert not await is_refused(desk, own.refresh_token)
    for other in others:
        assert not await is_let_in(desk, other)
        assert await is_refused(desk, other.refresh_token)
        assert await redis.exists(f"{redis_keys.REVOKED}session:{session_of(desk, other)}") == 1
    with pytest.raises(UnauthenticatedError):
        await log_in(desk)
    assert await log_in(desk, NEXT_PASSWORD)


@pytest.mark.parametrize(
    ("current", "new", "error", "param"),
    [
        pytest.param("another one, and long", NEXT_PASSWORD, WrongPasswordError, "current_password", id="wrong"),
        pytest.param(PASSWORD, "too short", InvalidRequestError, "new_password", id="short"),
        pytest.param(PASSWORD, "passwordpassword1", InvalidRequestError, "new_password", id="common"),
    ],
)
async def test_a_password_that_is_not_changed_ends_nothing(
    desk: AccountDesk, owner: User, current: str, new: str, error: type[InvalidRequestError], param: str
) -> None:
    own, other = await log_in(desk), await log_in(desk)
    credential = (await desk.authenticator.authenticate(own.access_token)).credential

    with pytest.raises(error) as caught:
        await desk.accounts.own_account.change_password(
            owner.id, current=current, new=new, session=credential, address=ADDRESS
        )

    assert caught.value.param == param
    assert not await is_refused(desk, other.refresh_token)
    assert await log_in(desk)


async def test_no_session_slips_in_while_the_password_changes(desk: AccountDesk, database: Database) -> None:
    """A login whose password was right a moment ago waits for the change, and is then judged again."""
    async with database.transaction() as changing:
        await changing.execute(update(users).values(password_hash=PasswordHasher(time_cost=1).hash(NEXT_PASSWORD)))
        logging_in = asyncio.create_task(log_in(desk))
        await until_one_waits(database)
    with pytest.raises(UnauthenticatedError):
        await logging_in
    assert await count_sessions(database) == 0


async def test_a_disabled_user_refreshes_nothing(desk: AccountDesk, database: Database) -> None:
    pair = await log_in(desk)
    async with database.transaction() as connection:
        await connection.execute(update(users).values(disabled_at=func.now()))

    assert await is_refused(desk, pair.refresh_token)


async def test_a_token_that_the_database_has_not_heard_of_is_no_theft(desk: AccountDesk, database: Database) -> None:
    """A backup that was restored is behind its clients: they log in again, and nobody is locked out."""
    first = await log_in(desk)
    second = await refresh(desk, first.refresh_token)
    async with database.transaction() as connection:
        await connection.execute(update(sessions).values(generation=session_rows.FIRST_GENERATION))

    assert await is_refused(desk, second.refresh_token)
    assert not await is_refused(desk, first.refresh_token)


async def test_sessions_that_have_expired_are_forgotten_in_batches_and_others_not(
    database: Database, owner: User
) -> None:
    async with database.transaction() as connection:
        for valid_s in (-1, -2, -3, 60):
            await begin(connection, owner, valid_s=valid_s)

    async def forget(limit: int) -> int:
        async with database.transaction() as connection:
            return await session_rows.forget_expired(connection, now=now(), limit=limit)

    assert [await forget(2), await forget(2), await forget(BATCH)] == [2, 1, 0]
    assert await count_sessions(database) == 1


async def test_one_forgets_at_a_time(database: Database, owner: User) -> None:
    async with database.transaction() as connection:
        await begin(connection, owner, valid_s=-1)
    async with database.transaction() as first, database.transaction() as second:
        assert await session_rows.forget_expired(first, now=now(), limit=BATCH) == 1
        assert await session_rows.forget_expired(second, now=now(), limit=BATCH) == 0


async def test_whoever_logs_in_without_end_keeps_the_latest_sessions(database: Database, owner: User) -> None:
    async with database.transaction() as connection:
        ids = [await begin(connection, owner) for _ in range(session_rows.MAX_PER_USER + 3)]
        kept = (await connection.execute(select(sessions.c.id))).scalars().all()

    assert set(kept) == set(ids[3:])


async def until_one_waits(database: Database) -> None:
    """Wait until a transaction waits for the end of another."""

    async def waits() -> bool:
        async with database.transaction() as connection:
            return (
                await connection.exec_driver_sql("SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1")
            ).first() is not None

    await wait_until(waits, description="a login waits")


async def count_sessions(database: Database) -> int:
    async with database.transaction() as connection:
        return (await connection.execute(select(func.count()).select_from(sessions))).scalar_one()
