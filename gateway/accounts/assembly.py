"""Puts together what people do with their accounts."""

from msgspec import Struct
from redis.asyncio import Redis

from gateway.accounts.access_tokens import AccessTokens
from gateway.accounts.attempts import Attempts, Patience
from gateway.accounts.own_account import OwnAccount
from gateway.accounts.password_check import PasswordCheck
from gateway.accounts.passwords import Passwords
from gateway.accounts.refresh_tokens import RefreshTokens
from gateway.accounts.registration import Registration
from gateway.accounts.removal import Removal
from gateway.accounts.sessions import Sessions
from gateway.accounts.settings import AccountSettings
from gateway.accounts.signing_keys import SigningKeys
from shared.clock import Clock
from shared.database.engine import Database
from shared.erasure import Erasure
from shared.job_queue import JobQueue
from shared.revocations import Revocations

ACCOUNT_FORGETS_A_FAILURE_S = 720  # so that whoever guesses at one for days gets no more than five an hour for nothing
ADDRESS_FORGETS_A_FAILURE_S = 60  # an office behind one address mistypes that often
UNLIMITED = 1_000_000_000


class Accounts(Struct, frozen=True):
    """What handlers ask for."""

    registration: Registration
    sessions: Sessions
    own_account: OwnAccount


def open_accounts(
    settings: AccountSettings,
    *,
    redis: Redis,
    database: Database,
    queue: JobQueue,
    revocations: Revocations,
    keys: SigningKeys,
    access_tokens: AccessTokens,
    passwords: Passwords,
    clock: Clock,
    limits_addresses: bool,
) -> Accounts:
    """Return the acts of signing up, logging in and the rest; nothing is dialled.

    Args:
        settings: The operator's.
        redis: Where failures are counted.
        database: Where users and sessions are.
        queue: Where the jobs are of whoever is deleted.
        revocations: Tells all gateways whom they let in no more.
        keys: What signs.
        access_tokens: Signs these.
        passwords: Hashes.
        clock: What says how late it is.
        limits_addresses: Whether an address has to wait that fails with many accounts; an account has to in any case.

    """
    attempts = Attempts(
        redis,
        digest_key=keys.derived("names of accounts")[0],
        with_account=Patience(
            free=settings.login_failures_per_account,
            forget_s=ACCOUNT_FORGETS_A_FAILURE_S,
            longest_s=settings.login_delay_max_secs,
        ),
        with_address=Patience(
            free=settings.login_failures_per_address if limits_addresses else UNLIMITED,
            forget_s=ADDRESS_FORGETS_A_FAILURE_S,
            longest_s=settings.login_delay_max_secs,
        ),
    )
    check = PasswordCheck(database=database, passwords=passwords, attempts=attempts)
    sessions = Sessions(
        database=database,
        check=check,
        passwords=passwords,
        attempts=attempts,
        access_tokens=access_tokens,
        refresh_tokens=RefreshTokens(keys),
        revocations=revocations,
        clock=clock,
        valid_s=settings.jwt_refresh_ttl_secs,
    )
    return Accounts(
        registration=Registration(mode=settings.signup_mode, database=database, passwords=passwords),
        sessions=sessions,
        own_account=OwnAccount(
            database=database,
            check=check,
            passwords=passwords,
            sessions=sessions,
            removal=Removal(database=database, queue=queue, erasure=Erasure(redis), revocations=revocations),
            clock=clock,
        ),
    )
