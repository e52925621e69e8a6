"""What a gateway does with accounts, without its HTTP: to be asked directly, on a clock that tests turn."""

from argon2 import PasswordHasher
from redis.asyncio import Redis

from gateway.accounts.access_tokens import AccessTokens
from gateway.accounts.assembly import Accounts, open_accounts
from gateway.accounts.authenticate import TokenAuthenticator
from gateway.accounts.identities import Identities
from gateway.accounts.passwords import Passwords
from gateway.accounts.settings import AccountSettings
from gateway.accounts.signing_keys import SigningKeys
from gateway.api_keys.keyring import Keyring
from gateway.api_keys.last_use import LastUse
from gateway.principal import Limits
from shared.clock import Clock
from shared.database.engine import Database
from shared.job_queue import JobQueue
from shared.revocations import Revocations

SECRET = "a secret of the tests, longer than 32 bytes"
ADDRESS = "192.0.2.7"
ACCESS_TTL_S, REFRESH_TTL_S = 3_600, 86_400
EMAIL, PASSWORD = "ada@example.org", "a quiet harbour at dawn"
SETTINGS = AccountSettings(
    jwt_access_ttl_secs=ACCESS_TTL_S, jwt_refresh_ttl_secs=REFRESH_TTL_S, login_failures_per_account=100
)


class QuickPasswords(Passwords):
    """Passwords whose hashes cost nearly nothing, where what they cost does not matter."""

    def __init__(self) -> None:
        super().__init__(min_length=15)
        self._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        self._stand_in = self._hasher.hash("")


class AccountDesk:
    """One gateway's part in accounts.

    Args:
        database: Where they are.
        redis: Where failures and revocations are told.
        clock: The gateway's.
        settings: The operator's.
        passwords: Hashes.

    """

    def __init__(
        self,
        database: Database,
        redis: Redis,
        clock: Clock,
        settings: AccountSettings = SETTINGS,
        *,
        passwords: Passwords | None = None,
    ) -> None:
        keys = SigningKeys(SECRET)
        tokens = AccessTokens(keys=keys, issuer="deepersensor", ttl_s=settings.jwt_access_ttl_secs, clock=clock)
        revocations = Revocations(redis)
        identities = Identities(
            database=database, revocations=revocations, clock=clock, limits=Limits(requests_per_minute=60)
        )
        keyring = Keyring(database=database, revocations=revocations, secret=SECRET, clock=clock)
        self.tokens = tokens
        self.authenticator = TokenAuthenticator(
            tokens=tokens, keyring=keyring, last_use=LastUse(database), identities=identities, clock=clock
        )
        self.accounts: Accounts = open_accounts(
            settings,
            redis=redis,
            database=database,
            queue=JobQueue(redis),
            revocations=revocations,
            keys=keys,
            access_tokens=tokens,
            passwords=passwords or Passwords(min_length=settings.password_min_length),
            clock=clock,
            limits_addresses=False,
        )
        self.sessions = self.accounts.sessions
