import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access import Access
from gateway.accounts.access_tokens import AccessTokens, Claims
from gateway.accounts.authenticate import TokenAuthenticator
from gateway.accounts.identities import Identities
from gateway.accounts.signing_keys import SigningKeys
from gateway.api_keys.key_format import new_api_key
from gateway.api_keys.keyring import LOOKED_UP_AT_ONCE, Keyring
from gateway.api_keys.last_use import LastUse
from gateway.api_keys.schemas import NewApiKey
from gateway.principal import Key, Limits, Principal
from shared.credential import Credential, CredentialKind
from shared.database import users
from shared.database.engine import Database
from shared.database.tables import api_keys
from shared.database.users import Role, User
from shared.errors import StoreUnavailableError, UnauthenticatedError
from shared.revocations import Revocations
from tests.clocks import TurnedClock
from tests.databases import SwitchedDatabase
from tests.sessions import begin

TTL_S = 600
HANG_S = 20.0  # a limit for hanging, not an expectation


class CountingTokens(AccessTokens):
    """Access tokens that count how often a signature was checked."""

    verified = 0

    def verify(self, token: str) -> Claims:
        self.verified += 1
        return super().verify(token)


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def tokens(clock: TurnedClock) -> CountingTokens:
    return CountingTokens(keys=SigningKeys("x" * 32), issuer="deepersensor", ttl_s=TTL_S, clock=clock)


@pytest.fixture
def switch(database: Database) -> SwitchedDatabase:
    return SwitchedDatabase(database)


@pytest.fixture
def keyring(switch: SwitchedDatabase, redis: Redis, clock: TurnedClock) -> Keyring:
    return Keyring(database=switch, revocations=Revocations(redis), secret="x" * 32, clock=clock)


@pytest.fixture
def last_use(database: Database) -> LastUse:
    return LastUse(database)


@pytest.fixture
def identities(switch: SwitchedDatabase, redis: Redis, clock: TurnedClock) -> Identities:
    return Identities(
        database=switch, revocations=Revocations(redis), clock=clock, limits=Limits(requests_per_minute=60)
    )


@pytest.fixture
def authenticator(
    tokens: CountingTokens, keyring: Keyring, last_use: LastUse, identities: Identities, clock: TurnedClock
) -> TokenAuthenticator:
    return TokenAuthenticator(tokens=tokens, keyring=keyring, last_use=last_use, identities=identities, clock=clock)


@pytest.fixture
async def ada(database: Database) -> User:
    async with database.transaction() as connection:
        return await users.create(connection, email="ada@example.org", password_hash="-", role=Role.USER)


@pytest.fixture
async def session_id(database: Database, ada: User) -> str:
    async with database.transaction() as connection:
        return await begin(connection, ada)


async def test_a_token_leads_to_its_user_and_is_verified_once(
    authenticator: TokenAuthenticator, tokens: CountingTokens, ada: User, session_id: str
) -> None:
    token = tokens.issue(ada.id, session_id=session_id)
    for _ in range(3):
        assert (await authenticator.authenticate(token)).user_id == ada.id
    assert tokens.verified == 1


async def test_a_token_that_was_good_is_verified_again_when_it_has_expired(
    authenticator: TokenAuthenticator, tokens: CountingTokens, clock: TurnedClock, ada: User, session_id: str
) -> None:
    token = tokens.issue(ada.id, session_id=session_id)
    await authenticator.authenticate(token)
    clock.ahead_s = TTL_S + 6
    with pytest.raises(UnauthenticatedError, match="expired"):
        await authenticator.authenticate(token)
    assert tokens.verified == 2


async def test_a_wrong_token_is_never_remembered(authenticator: TokenAuthenticator, tokens: CountingTokens) -> None:
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            await authenticator.authenticate("wrong")
    assert tokens.verified == 2


@pytest.fixture
async def owner(identities: Identities, session_id: str) -> Principal:
    return await identities.find(Credential(CredentialKind.SESSION, session_id))


async def test_a_key_leads_to_its_user_and_says_what_it_allows(
    authenticator: TokenAuthenticator, keyring: Keyring, owner: Principal
) -> None:
    made = await keyring.make(owner, NewApiKey(name="ci", models=["llama3.2", "b:1"], scopes=["chat"]))
    principal = await authenticator.authenticate(made.key)
    assert (principal.user_id, principal.credential) == (owner.user_id, Credential(CredentialKind.KEY, made.id))
    assert principal.key == Key(
        id=made.id, scopes=frozenset({Access.CHAT}), models=frozenset({"llama3.2:latest", "b:1"})
    )


async def test_a_key_that_was_seen_costs_no_question(
    authenticator: TokenAuthenticator, keyring: Keyring, owner: Principal, switch: SwitchedDatabase
) -> None:
    made = await keyring.make(owner, NewApiKey(name="ci"))
    await authenticator.authenticate(made.key)
    asked = switch.asked
    assert (await authenticator.authenticate(made.key)).user_id == owner.user_id
    assert switch.asked == asked


async def test_what_is_no_key_is_told_without_asking(
    authenticator: TokenAuthenticator, switch: SwitchedDatabase
) -> None:
    key = new_api_key()
    for text in (key[:-1], key[:-1] + chr(ord(key[-1]) ^ 1), "sk-ds-", "sk-ds-" + "0" * 42, key + "0"):
        with pytest.raises(UnauthenticatedError):
            await authenticator.authenticate(text)
    assert switch.asked == 0


async def test_a_key_that_nobody_made_is_not_remembered(
    authenticator: TokenAuthenticator, switch: SwitchedDatabase
) -> None:
    """Or whoever makes up keys without end would fill the memory."""
    for key in [new_api_key()] * 2:
        with pytest.raises(UnauthenticatedError):
            await authenticator.authenticate(key)
    assert switch.asked == 2


async def test_a_key_made_under_another_secret_is_none(
    authenticator: TokenAuthenticator, database: Database, redis: Redis, clock: TurnedClock, owner: Principal
) -> None:
    other = Keyring(database=database, revocations=Revocations(redis), secret="y" * 32, clock=clock)
    made = await other.make(owner, NewApiKey(name="ci"))
    with pytest.raises(UnauthenticatedError):
        await authenticator.authenticate(made.key)


async def test_a_key_expires_to_the_second_also_from_the_cache(
    authenticator: TokenAuthenticator, keyring: Keyring, clock: TurnedClock, owner: Principal
) -> None:
    expires_at = datetime.fromtimestamp(clock.now_ms() // 1000 + 3, UTC)
    made = await keyring.make(owner, NewApiKey(name="brief", expires_at=expires_at))
    clock.ahead_s = 1
    await authenticator.authenticate(made.key)
    clock.ahead_s = 3.1
    with pytest.raises(UnauthenticatedError):
        await authenticator.authenticate(made.key)


async def test_when_a_key_is_used_is_written_down_once_a_minute(
    authenticator: TokenAuthenticator, keyring: Keyring, last_use: LastUse, database: Database, owner: Principal
) -> None:
    made, unused = [await keyring.make(owner, NewApiKey(name=name)) for name in ("used", "unused")]

    async def used_at() -> dict[str, datetime | None]:
        await last_use.write()
        return {key.id: key.last_used_at for key in (await keyring.page({}, user_id=owner.user_id)).data}

    assert await used_at() == {made.id: None, unused.id: None}
    for _ in range(3):
        await authenticator.authenticate(made.key)
    first = await used_at()
    assert first[made.id] is not None
    assert first[unused.id] is None
    await authenticator.authenticate(made.key)
    assert await used_at() == first
    async with database.transaction() as connection:
        await connection.execute(update(api_keys).values(last_used_at=func.now() - timedelta(seconds=61)))
    await authenticator.authenticate(made.key)
    assert (await used_at())[made.id] != first[made.id]


class HangingDatabase(Database):
    """Never answers, and has no deadline of its own."""

    def __init__(self) -> None:
        """Connect to nothing."""

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection]:
        raise await asyncio.Future[Exception]()
        yield  # pyright: ignore[reportUnreachable]  makes it a generator


async def test_who_tries_out_many_keys_does_not_hold_up_everybody_when_postgresql_hangs(
    redis: Redis, clock: TurnedClock
) -> None:
    keyring = Keyring(database=HangingDatabase(), revocations=Revocations(redis), secret="", clock=clock)
    async with asyncio.timeout(HANG_S):
        tries = (keyring.find(new_api_key()) for _ in range(3 * LOOKED_UP_AT_ONCE))
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
