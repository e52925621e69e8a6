"""Who may make which keys, and whose they stay."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select

from gateway.admission.limits import OwnLimits
from gateway.api_keys.keyring import MOST_PER_USER, Keyring
from gateway.api_keys.schemas import NewApiKey
from gateway.principal import Limits, Principal
from shared import redis_keys
from shared.credential import Credential, CredentialKind
from shared.database import users
from shared.database.engine import Database
from shared.database.tables import api_keys
from shared.database.users import Role, User
from shared.errors import (
    InvalidRequestError,
    LimitAboveOwnersError,
    NotFoundError,
    StoreUnavailableError,
    TooManyApiKeysError,
    UnauthenticatedError,
)
from shared.ids import new_id
from shared.redis_client import connect
from shared.revocations import Revocations, published
from tests.clocks import TurnedClock
from tests.listening import listening


@pytest.fixture
def keyring(database: Database, redis: Redis) -> Keyring:
    return Keyring(database=database, revocations=Revocations(redis), secret="x" * 32, clock=TurnedClock())


def principal(user_id: str, *, requests_per_minute: int | None = 60) -> Principal:
    return Principal(
        user_id=user_id,
        role=Role.USER,
        limits=Limits(requests_per_minute=requests_per_minute),
        credential=Credential(CredentialKind.SESSION, new_id()),
        key=None,
    )


async def test_of_a_key_nothing_is_kept_that_it_could_be_made_from(
    keyring: Keyring, database: Database, ada: User
) -> None:
    made = await keyring.make(principal(ada.id), NewApiKey(name="ci"))
    async with database.transaction() as connection:
        (row,) = (await connection.execute(select(api_keys))).all()
    assert row.prefix == made.key[:10]
    assert len(row.digest) == 32
    secret = made.key.removeprefix(row.prefix).encode()
    assert not any(secret in str(value).encode() or value == secret for value in row)


@pytest.mark.parametrize("wanted", [60, 1])
async def test_a_limit_may_be_the_owners_or_lower(keyring: Keyring, ada: User, wanted: int) -> None:
    limits = OwnLimits(requests_per_minute=wanted)
    made = await keyring.make(principal(ada.id), NewApiKey(name="ci", limits=limits))
    assert made.limits == limits


async def test_a_limit_above_the_owners_is_refused_by_name(keyring: Keyring, ada: User) -> None:
    with pytest.raises(LimitAboveOwnersError) as refusal:
        await keyring.make(principal(ada.id), NewApiKey(name="ci", limits=OwnLimits(requests_per_minute=61)))
    assert refusal.value.param == "limits.requests_per_minute"


async def test_who_is_not_limited_may_limit_a_key_as_they_like(keyring: Keyring, ada: User) -> None:
    limits = OwnLimits(requests_per_minute=60_000_000)
    await keyring.make(principal(ada.id, requests_per_minute=None), NewApiKey(name="ci", limits=limits))


@pytest.mark.parametrize(
    "expires_at",
    [
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
    ],
    ids=str,
)
async def test_a_key_expires_in_time_to_come(keyring: Keyring, ada: User, expires_at: datetime) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        await keyring.make(principal(ada.id), NewApiKey(name="ci", expires_at=expires_at))
    assert refusal.value.param == "expires_at"


async def test_nobody_has_more_keys_than_one_may_have_also_at_once(
    keyring: Keyring, database: Database, ada: User
) -> None:
    owner = principal(ada.id)
    first = await keyring.make(owner, NewApiKey(name="first"))
    tries = (keyring.make(owner, NewApiKey(name="more")) for _ in range(MOST_PER_USER + 9))
    made = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(outcome, TooManyApiKeysError) for outcome in made) == 10
    async with database.transaction() as connection:
        assert (await connection.execute(select(func.count()).select_from(api_keys))).scalar_one() == MOST_PER_USER

    await keyring.revoke(first.id, user_id=ada.id)
    await keyring.make(owner, NewApiKey(name="in its place"))


async def test_a_user_who_is_gone_makes_none(keyring: Keyring) -> None:
    with pytest.raises(UnauthenticatedError):
        await keyring.make(principal(new_id()), NewApiKey(name="ci"))


async def test_keys_are_listed_newest_first_in_pages_without_those_that_are_revoked(
    keyring: Keyring, ada: User
) -> None:
    made = [await keyring.make(principal(ada.id), NewApiKey(name=f"number {number}")) for number in range(5)]
    await keyring.revoke(made[2].id, user_id=ada.id)

    listed: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await keyring.page({"limit": "2", **cursor}, user_id=ada.id)
        listed += [key.name for key in page.data]
        if page.next_cursor is None:
            break
        cursor = {"cursor": page.next_cursor}
    assert listed == ["number 4", "number 3", "number 1", "number 0"]


async def test_a_key_can_be_revoked_by_its_owner_alone_and_again(
    keyring: Keyring, database: Database, redis: Redis, ada: User
) -> None:
    async with database.transaction() as connection:
        bob = await users.create(connection, email="bob@example.org", password_hash="-", role=Role.USER)
    made = await keyring.make(principal(ada.id), NewApiKey(name="ci"))

    for key_id, user_id in ((made.id, bob.id), (new_id(), ada.id), (made.id.upper(), ada.id), ("1", ada.id)):
        with pytest.raises(NotFoundError):
            await keyring.revoke(key_id, user_id=user_id)
    assert not await redis.keys("ds:revoked:*")

    for _ in range(2):
        async with listening(redis, redis_keys.REVOCATIONS_CHANNEL) as hear:
            await keyring.revoke(made.id, user_id=ada.id)
            assert published(await hear()) == [f"key:{made.id}"]


async def test_a_revocation_that_redis_was_not_told_of_is_to_be_asked_for_again(
    database: Database, ada: User, free_port: int
) -> None:
    async with connect(f"redis://127.0.0.1:{free_port}/0", role="test") as nowhere:
        keyring = Keyring(database=database, revocations=Revocations(nowhere), secret="", clock=TurnedClock())
        made = await keyring.make(principal(ada.id), NewApiKey(name="ci"))
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                await keyring.revoke(made.id, user_id=ada.id)
        assert (await keyring.page({}, user_id=ada.id)).data == []
