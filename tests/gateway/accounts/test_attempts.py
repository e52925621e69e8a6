import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from gateway.accounts.attempts import Attempts, Patience
from shared import redis_keys
from shared.errors import (
    DeeperSensorError,
    InvalidRequestError,
    StoreUnavailableError,
    TooManyAttemptsError,
    TryLaterError,
    UnauthenticatedError,
    WrongPasswordError,
)
from shared.redis_client import connect
from tests.key_leaks import immortal_keys

FREE, FREE_PER_ADDRESS = 3, 8
DAY_S = 86_400
ADA, HOME, AWAY = "ada@example.org", "192.0.2.7", "198.51.100.9"


def attempts_in(redis: Redis, *, digest_key: bytes = b"key") -> Attempts:
    """So slow to forget that nothing comes back while a test runs."""
    return Attempts(
        redis,
        digest_key=digest_key,
        with_account=Patience(free=FREE, forget_s=DAY_S, longest_s=DAY_S),
        with_address=Patience(free=FREE_PER_ADDRESS, forget_s=DAY_S, longest_s=DAY_S),
    )


@pytest.fixture
def attempts(redis: Redis) -> Attempts:
    return attempts_in(redis)


async def make(
    attempts: Attempts, *, email: str | None = ADA, address: str = HOME, error: Exception | None = None
) -> str:
    """Make one attempt that comes out as told."""

    async def find_out() -> None:
        if error:
            raise error

    return await outcome_of(attempts, find_out, email=email, address=address)


async def outcome_of(
    attempts: Attempts, find_out: Callable[[], Awaitable[None]], *, email: str | None = ADA, address: str = HOME
) -> str:
    try:
        async with attempts.one(address=address, email=email):
            await find_out()
    except TooManyAttemptsError:
        return "waits"
    except DeeperSensorError:
        return "failed"
    return "succeeded"


def wrong() -> Exception:
    return UnauthenticatedError("wrong")


async def fail(attempts: Attempts, count: int, *, email: str | None = ADA, address: str = HOME) -> list[str]:
    return [await make(attempts, email=email, address=address, error=wrong()) for _ in range(count)]


async def test_after_some_failures_an_account_has_to_wait(attempts: Attempts) -> None:
    assert await fail(attempts, FREE + 1) == ["failed"] * FREE + ["waits"]


async def test_the_refusal_says_how_long(attempts: Attempts) -> None:
    await fail(attempts, FREE)

    with pytest.raises(TooManyAttemptsError) as caught:
        async with attempts.one(address=HOME, email=ADA):
            pytest.fail("it went on")

    assert 0.5 < caught.value.retry_after_s <= 1.0


async def test_a_wrong_password_of_somebody_known_counts_as_well(attempts: Attempts) -> None:
    outcomes = [await make(attempts, error=WrongPasswordError("wrong")) for _ in range(FREE + 1)]

    assert outcomes == ["failed"] * FREE + ["waits"]


async def test_guesses_that_are_made_at_once_do_not_walk_through(attempts: Attempts) -> None:
    """Each counts before it is known to be wrong."""
    all_wait = asyncio.Event()

    async def find_out() -> None:
        await all_wait.wait()
        raise wrong()

    guesses = [asyncio.create_task(outcome_of(attempts, find_out)) for _ in range(50)]
    while sum(task.done() for task in guesses) < len(guesses) - FREE:
        under_way = [task for task in guesses if not task.done()]
        await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
    all_wait.set()

    assert Counter(await asyncio.gather(*guesses)) == {"failed": FREE, "waits": 50 - FREE}


async def test_success_begins_the_account_anew(attempts: Attempts) -> None:
    await fail(attempts, FREE - 1)
    assert await make(attempts) == "succeeded"

    assert await fail(attempts, FREE + 1) == ["failed"] * FREE + ["waits"]


async def test_any_number_of_successes_costs_nothing(attempts: Attempts) -> None:
    assert {await make(attempts) for _ in range(2 * FREE_PER_ADDRESS)} == {"succeeded"}


@pytest.mark.parametrize(
    "error", [TryLaterError("full", retry_after_s=1), StoreUnavailableError("away", retry_after_s=1)]
)
async def test_what_could_not_be_looked_at_has_not_happened(attempts: Attempts, error: Exception) -> None:
    outcomes = {await make(attempts, error=error) for _ in range(2 * FREE_PER_ADDRESS)}

    assert outcomes == {"failed"}
    assert await make(attempts) == "succeeded"


async def test_an_attempt_that_is_cancelled_stays_counted(attempts: Attempts) -> None:
    """Otherwise a guess whose sender hangs up would be free."""
    for _ in range(FREE):
        inside = asyncio.Event()

        async def hang(inside: asyncio.Event) -> None:
            async with attempts.one(address=HOME, email=ADA):
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hang(inside))
        await inside.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert await make(attempts) == "waits"


async def test_an_address_that_fails_with_many_accounts_waits_whatever_it_names(attempts: Attempts) -> None:
    for number in range(FREE_PER_ADDRESS):
        assert await fail(attempts, 1, email=f"user-{number}@example.org") == ["failed"]

    assert await make(attempts, email="somebody-else@example.org") == "waits"
    assert await make(attempts, email=None) == "waits"
    assert await make(attempts, email="somebody-else@example.org", address=AWAY) == "succeeded"


async def test_an_attackers_own_account_does_not_make_the_address_good_again(attempts: Attempts) -> None:
    for number in range(FREE_PER_ADDRESS):
        assert await fail(attempts, 1, email=f"user-{number}@example.org") == ["failed"]
        assert number == FREE_PER_ADDRESS - 1 or await make(attempts, email="own@example.org") == "succeeded"

    assert await make(attempts, email="own@example.org") == "waits"


async def test_strangers_do_not_keep_an_owner_out_where_they_have_been_let_in_before(attempts: Attempts) -> None:
    assert await make(attempts, address=HOME) == "succeeded"

    assert await fail(attempts, FREE + 1, address=AWAY) == ["failed"] * FREE + ["waits"]

    assert await make(attempts, address=HOME) == "succeeded"
    assert await make(attempts, address=AWAY) == "waits"  # which that has not changed


async def test_guesses_are_counted_also_where_the_owner_has_been_let_in(attempts: Attempts) -> None:
    await make(attempts, address=HOME)

    assert await fail(attempts, FREE + 1, address=HOME) == ["failed"] * FREE + ["waits"]


async def test_who_waits_is_no_heavier_for_having_asked(attempts: Attempts, redis: Redis) -> None:
    await fail(attempts, FREE)
    before = {key: await redis.hgetall(key) for key in await redis.keys("*")}  # pyright: ignore[reportGeneralTypeIssues]

    await fail(attempts, 5)

    assert {key: await redis.hgetall(key) for key in await redis.keys("*")} == before  # pyright: ignore[reportGeneralTypeIssues]


async def test_redis_holds_no_address_of_a_person_and_everything_expires(attempts: Attempts, redis: Redis) -> None:
    await fail(attempts, 1)
    await make(attempts, email="bob@example.org")

    keys = [key.decode() for key in await redis.keys("*")]
    assert sorted({key.rpartition(":")[0].split(":")[1] for key in keys}) == ["failures", "familiar"]
    assert not any(name in key for key in keys for name in ("ada", "bob", "example"))
    assert await immortal_keys(redis) == []


async def test_other_secrets_give_other_names(redis: Redis) -> None:
    for digest_key in (b"one", b"two"):
        assert await fail(attempts_in(redis, digest_key=digest_key), FREE) == ["failed"] * FREE

    assert len(await redis.keys(f"{redis_keys.FAILURES}account:*")) == 2


async def test_customers_of_ipv6_are_one_address(attempts: Attempts) -> None:
    for number in range(FREE_PER_ADDRESS):
        await fail(attempts, 1, email=f"user-{number}@example.org", address=f"2001:db8:1:2::{number}")

    assert await make(attempts, address="2001:db8:1:2:ffff::") == "waits"


async def test_without_redis_nobody_goes_on(free_port: int) -> None:
    async with connect(f"redis://127.0.0.1:{free_port}/0", role="test") as nowhere:
        with pytest.raises(StoreUnavailableError) as caught:
            async with attempts_in(nowhere).one(address=HOME, email=ADA):
                pytest.fail("it went on")

    assert caught.value.retry_after_s > 0


async def test_what_else_goes_wrong_is_told_as_it_is(attempts: Attempts) -> None:
    with pytest.raises(InvalidRequestError):
        async with attempts.one(address=HOME, email=ADA):
            raise InvalidRequestError("a new password that will not do")
