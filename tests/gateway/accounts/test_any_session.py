"""Whatever people and thieves do with sessions, in whichever order, at whichever gateway."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis
from sqlalchemy import ColumnElement, func, null, update

from gateway.accounts.identities import FRESH_S
from gateway.accounts.sessions import GRACE_S, TokenPair
from migrations.upgrade import upgrade
from shared.credential import Credential, CredentialKind
from shared.database import engine, users
from shared.database.engine import Database
from shared.database.tables import users as user_table
from shared.database.users import Role, User
from shared.errors import UnauthenticatedError, WrongPasswordError
from shared.ids import new_id
from shared.redis_client import connect
from tests.clocks import StandingClock
from tests.databases import Databases
from tests.gateway.accounts.desk import ACCESS_TTL_S, ADDRESS, PASSWORD, REFRESH_TTL_S, AccountDesk, QuickPasswords

GATEWAYS = 2
MOST_SESSIONS = 3
LEEWAY_S = 5
PAUSES_S = [1, FRESH_S, GRACE_S - 1, GRACE_S, GRACE_S, ACCESS_TTL_S, REFRESH_TTL_S - 1, REFRESH_TTL_S]
OTHER_PASSWORD = "a quiet harbour at dusk"

Result = TypeVar("Result")
gateways = st.integers(0, GATEWAYS - 1)


@dataclass
class Session:
    """What should be true of one."""

    id: str
    tokens: list[str]  # every refresh token that it has had; the last one is good
    access: list[tuple[str, float]]  # every access token, and when it was issued
    refreshed_s: float
    ended_s: float | None = None  # None: it goes on
    believed_until_s: dict[int, float] = field(default_factory=dict[int, float])  # by gateway

    def is_live(self, now_s: float) -> bool:
        return self.ended_s is None and now_s < self.refreshed_s + REFRESH_TTL_S


class Ground:
    """Where all machines live, one after the other: two gateways, their servers, and a loop of its own."""

    def __init__(self, runner: asyncio.Runner, database: Database, redis: Redis) -> None:
        self.run = runner.run
        self.database = database
        self.clock = StandingClock()
        self.desks = [AccountDesk(database, redis, self.clock, passwords=QuickPasswords()) for _ in range(GATEWAYS)]


class Sessions(RuleBasedStateMachine):
    """A user, some sessions, two gateways, and one clock."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self._ground = ground
        self._clock = ground.clock
        self._database = ground.database
        self._desks = ground.desks
        self._start_s = self._clock.monotonic_s()
        self._password = PASSWORD
        self._user: User
        self._sessions: list[Session] = []

    @initialize()
    def sign_up(self) -> None:
        async def create() -> User:
            async with self._database.transaction() as connection:
                return await users.create(
                    connection,
                    email=f"{new_id()}@example.org",
                    password_hash=await QuickPasswords().hash(PASSWORD),
                    role=Role.USER,
                )

        self._user = self._run(create())
        self.log_in(0, is_right=True)

    @precondition(lambda self: len(self._sessions) < MOST_SESSIONS)
    @rule(gateway=gateways, is_right=st.sampled_from([True, True, False]))
    def log_in(self, gateway: int, *, is_right: bool) -> None:
        password = self._password if is_right else "a quiet harbour at noon"
        logging_in = self._desks[gateway].sessions.log_in(email=self._user.email, password=password, address=ADDRESS)
        if not is_right:
            self._expect_refusal(logging_in)
            return
        pair = self._run(logging_in)
        session_id = self._desks[gateway].tokens.verify(pair.access_token).session_id
        session = Session(session_id, [], [], self._now_s)
        self._take(session, pair)
        self._sessions.append(session)

    @rule(gateway=gateways, data=st.data())
    def refresh(self, gateway: int, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self._sessions))
        refreshing = self._refresh(session.tokens[-1], gateway)
        if session.is_live(self._now_s):
            self._take(session, self._run(refreshing))
            session.refreshed_s = self._now_s
        else:
            self._expect_refusal(refreshing)

    @precondition(lambda self: any(len(session.tokens) > 1 for session in self._sessions))
    @rule(gateway=gateways, data=st.data())
    def refresh_with_a_spent_token(self, gateway: int, data: st.DataObject) -> None:
        """As a client does that got no answer, or a thief who has kept the token."""
        session = data.draw(st.sampled_from([session for session in self._sessions if len(session.tokens) > 1]))
        age = data.draw(st.integers(1, min(3, len(session.tokens) - 1)))
        refreshing = self._refresh(session.tokens[-1 - age], gateway)
        if session.is_live(self._now_s) and age == 1 and self._now_s < session.refreshed_s + GRACE_S:
            pair = self._run(refreshing)
            assert pair.refresh_token == session.tokens[-1]
            session.access.append((pair.access_token, self._now_s))
            return
        self._expect_refusal(refreshing)
        self._end(session)

    @precondition(lambda self: any(session.is_live(self._now_s) for session in self._sessions))
    @rule(data=st.data(), times=st.integers(2, 6))
    def refresh_at_once(self, data: st.DataObject, times: int) -> None:
        """As a page does that is open in several windows, over several gateways."""
        session = self._any_live(data)

        async def all_at_once() -> list[TokenPair | BaseException]:
            refreshing = (self._refresh(session.tokens[-1], number % GATEWAYS) for number in range(times))
            return await asyncio.gather(*refreshing, return_exceptions=True)

        pairs = self._run(all_at_once())
        assert all(isinstance(pair, TokenPair) for pair in pairs)
        granted = [pair for pair in pairs if isinstance(pair, TokenPair)]
        assert len({pair.refresh_token for pair in granted}) == 1
        self._take(session, granted[0])
        session.access += [(pair.access_token, self._now_s) for pair in granted[1:]]
        session.refreshed_s = self._now_s

    @precondition(lambda self: any(session.is_live(self._now_s) for session in self._sessions))
    @rule(gateway=gateways, data=st.data())
    def log_out(self, gateway: int, data: st.DataObject) -> None:
        session = self._any_live(data)
        self._run(self._desks[gateway].sessions.log_out(self._user.id, session.id))
        self._end(session)

    @precondition(lambda self: any(session.is_live(self._now_s) for session in self._sessions))
    @rule(gateway=gateways, data=st.data(), is_right=st.sampled_from([True, True, False]))
    def change_password(self, gateway: int, data: st.DataObject, *, is_right: bool) -> None:
        session = self._any_live(data)
        current, new = self._password, OTHER_PASSWORD if self._password == PASSWORD else PASSWORD
        changing = self._desks[gateway].accounts.own_account.change_password(
            self._user.id,
            current=current if is_right else new,
            new=new,
            session=Credential(CredentialKind.SESSION, session.id),
            address=ADDRESS,
        )
        if not is_right:
            with pytest.raises(WrongPasswordError):
                self._run(changing)
            return
        self._run(changing)
        self._password = new
        for other in self._sessions:
            if other is not session:
                self._end(other)

    @rule(gateway=gateways, data=st.data())
    def try_while_disabled(self, gateway: int, data: st.DataObject) -> None:
        """Nothing is begun or renewed; when the user is in good standing again, all is as it was."""
        session = data.draw(st.sampled_from(self._sessions))
        desk = self._desks[gateway]
        self._run(self._set_disabled_at(func.now()))
        self._expect_refusal(self._refresh(session.tokens[-1], gateway))
        self._expect_refusal(desk.sessions.log_in(email=self._user.email, password=self._password, address=ADDRESS))
        self._clock.ahead_s += FRESH_S
        self._expect_refusal(desk.authenticator.authenticate(session.access[-1][0]))
        self._run(self._set_disabled_at(null()))
        self._clock.ahead_s += FRESH_S  # for so long the refusal is believed as well

    async def _set_disabled_at(self, disabled_at: ColumnElement[Any]) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(
                update(user_table).where(user_table.c.id == self._user.id).values(disabled_at=disabled_at)
            )

    @rule(seconds=st.sampled_from(PAUSES_S))
    def wait(self, seconds: float) -> None:
        self._clock.ahead_s += seconds

    @rule(gateway=gateways, data=st.data())
    def ask(self, gateway: int, data: st.DataObject) -> None:
        """With an access token, also an old one: a gateway may believe for FRESH_S what PostgreSQL said last."""
        session = data.draw(st.sampled_from(self._sessions))
        token, issued_s = data.draw(st.sampled_from(session.access))
        asking = self._desks[gateway].authenticator.authenticate(token)
        may_be_let_in = self._now_s < issued_s + ACCESS_TTL_S + LEEWAY_S and (
            self._now_s < session.believed_until_s.get(gateway, 0)
        )
        if self._now_s >= issued_s + ACCESS_TTL_S + LEEWAY_S:
            self._expect_refusal(asking)
        elif session.is_live(self._now_s):
            principal = self._run(asking)
            assert (principal.user_id, principal.credential.id) == (self._user.id, session.id)
            session.believed_until_s[gateway] = max(session.believed_until_s.get(gateway, 0), self._now_s + FRESH_S)
        elif not may_be_let_in:
            self._expect_refusal(asking)
        else:
            with suppress(UnauthenticatedError):  # either is right
                self._run(asking)

    @invariant()
    def no_token_is_in_two_sessions(self) -> None:
        tokens = [token for session in self._sessions for token in session.tokens]
        assert len(tokens) == len(set(tokens))

    @property
    def _now_s(self) -> float:
        return self._clock.monotonic_s() - self._start_s

    def _refresh(self, token: str, gateway: int) -> Awaitable[TokenPair]:
        return self._desks[gateway].sessions.refresh(token, address=ADDRESS)

    def _end(self, session: Session) -> None:
        """Note that a session has ended; no token of it is good, at whichever gateway."""
        session.ended_s = session.ended_s or self._now_s
        for gateway in range(GATEWAYS):
            self._expect_refusal(self._refresh(session.tokens[-1], gateway))

    def _any_live(self, data: st.DataObject) -> Session:
        return data.draw(st.sampled_from([session for session in self._sessions if session.is_live(self._now_s)]))

    def _take(self, session: Session, pair: TokenPair) -> None:
        session.tokens.append(pair.refresh_token)
        session.access.append((pair.access_token, self._now_s))

    def _expect_refusal(self, doing: Awaitable[object]) -> None:
        with pytest.raises(UnauthenticatedError):
            self._run(doing)

    def _run(self, doing: Awaitable[Result]) -> Result:
        async def done() -> Result:
            return await doing

        return self._ground.run(done())


def run_machines(database_url: str, redis_url: str) -> None:
    """Run machines until one fails, or enough have not."""
    with asyncio.Runner() as runner:

        async def connected() -> tuple[Database, Redis]:
            return engine.connect(database_url, role="test"), connect(redis_url, role="test")

        database, redis = runner.run(connected())
        ground = Ground(runner, database, redis)

        class Machine(Sessions):
            def __init__(self) -> None:
                super().__init__(ground)

        try:
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=20,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(database.close())
            runner.run(redis.aclose())


async def test_sessions_keep_their_promises_whatever_is_done(databases: Databases, redis_url: str) -> None:
    """In a thread: a machine's rules are plain functions, and have a loop of their own."""
    async with databases.fresh() as database_url:
        await upgrade(database_url)
        await asyncio.to_thread(run_machines, database_url, redis_url)
