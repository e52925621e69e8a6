"""Who guesses learns nothing of which accounts there are, because the same is done for all: counted, not timed."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import Struct, structs
from redis.asyncio import Redis
from sqlalchemy import event, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.passwords import Passwords, Result
from shared.database.engine import Database
from shared.database.tables import users
from shared.errors import TooManyAttemptsError, UnauthenticatedError
from tests.clocks import StandingClock
from tests.gateway.accounts.desk import ADDRESS, EMAIL, PASSWORD, SETTINGS, AccountDesk

NOBODY = "nobody@example.org"
THREE_FREE = structs.replace(SETTINGS, login_failures_per_account=3)
WRONG = "a quiet harbour at noon"


class CountingPasswords(Passwords):
    """Passwords that count their hashes."""

    hashes = 0

    async def _take_turn(self, work: Callable[..., Result], *arguments: str) -> Result:
        self.hashes += 1
        return await super()._take_turn(work, *arguments)


class NotingDatabase(Database):
    """Leads to a database, and notes what it is asked."""

    def __init__(self, target: Database) -> None:
        self._target = target
        self.statements: list[str] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection]:
        async with self._target.transaction() as connection:
            event.listen(connection.sync_connection, "before_cursor_execute", self._note)
            yield connection

    def _note(self, *arguments: Any) -> None:  # noqa: ANN401  as SQLAlchemy calls it
        self.statements.append(arguments[2])


class Work(Struct, frozen=True):
    """What was done."""

    hashes: int
    statements: list[str]
    commands: dict[str, int]  # to Redis, and how often each


class Bench:
    """A desk whose work is measured."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = NotingDatabase(database)
        self._passwords = CountingPasswords(min_length=15)
        self._redis = redis
        self._desk = AccountDesk(self._database, redis, StandingClock(), passwords=self._passwords)

    async def work_of_a_guess(self, email: str, password: str) -> Work:
        """Guess wrong, and return what that cost."""
        self._passwords.hashes = 0
        self._database.statements = []
        await self._redis.config_resetstat()
        assert await guess(self._desk, email, password) == "wrong"
        statistics: dict[str, dict[str, int]] = await self._redis.info("commandstats")
        commands = {name: figures["calls"] for name, figures in statistics.items() if "config" not in name}
        return Work(self._passwords.hashes, self._database.statements, commands)


@pytest.mark.usefixtures("owner")
async def test_an_unknown_address_a_wrong_password_and_a_disabled_user_cost_the_same(
    database: Database, redis: Redis
) -> None:
    bench = Bench(database, redis)
    await bench.work_of_a_guess("warming-up@example.org", WRONG)

    for_nobody = await bench.work_of_a_guess(NOBODY, WRONG)
    for_a_wrong_password = await bench.work_of_a_guess(EMAIL, WRONG)
    async with database.transaction() as connection:
        await connection.execute(update(users).values(disabled_at=func.now()))
    for_a_disabled_user = await bench.work_of_a_guess(EMAIL, PASSWORD)

    assert for_nobody == for_a_wrong_password == for_a_disabled_user
    assert for_nobody.hashes == 1
    assert ["FROM users" in statement for statement in for_nobody.statements] == [True]
    assert for_nobody.commands["cmdstat_evalsha"] == 1


@pytest.mark.usefixtures("owner")
async def test_accounts_that_are_not_there_are_slowed_down_alike(database: Database, redis: Redis) -> None:
    desk = AccountDesk(database, redis, StandingClock(), THREE_FREE)

    waits = {email: [await guess(desk, email, WRONG) for _ in range(5)] for email in (EMAIL, NOBODY)}

    assert waits[EMAIL] == waits[NOBODY] == ["wrong"] * 3 + ["waits"] * 2


async def guess(desk: AccountDesk, email: str, password: str) -> str:
    try:
        await desk.sessions.log_in(email=email, password=password, address=ADDRESS)
    except TooManyAttemptsError:
        return "waits"
    except UnauthenticatedError:
        return "wrong"
    pytest.fail("let in")
