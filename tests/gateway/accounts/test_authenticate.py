import pytest

from gateway.accounts.access_tokens import AccessTokens, Claims
from gateway.accounts.authenticate import TokenAuthenticator
from gateway.accounts.identities import Identities
from gateway.accounts.signing_keys import SigningKeys
from gateway.principal import Limits
from shared.database import users
from shared.database.engine import Database
from shared.database.users import Role, User
from shared.errors import UnauthenticatedError
from tests.clocks import TurnedClock
from tests.sessions import begin

TTL_S = 600


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
def authenticator(tokens: CountingTokens, database: Database, clock: TurnedClock) -> TokenAuthenticator:
    identities = Identities(database=database, clock=clock, limits=Limits(requests_per_minute=60))
    return TokenAuthenticator(tokens=tokens, identities=identities, clock=clock)


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
