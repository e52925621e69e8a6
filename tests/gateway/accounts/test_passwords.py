import asyncio

import pytest
from argon2 import PasswordHasher, extract_parameters

from gateway.accounts.passwords import MAX_LENGTH, MAX_WAITING, Passwords
from shared.errors import InvalidRequestError, TryLaterError

PASSWORD = "a quiet harbour at dawn"


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    return Passwords(min_length=15)


async def test_a_hash_is_argon2id_of_at_least_what_owasp_asks(passwords: Passwords) -> None:
    parameters = extract_parameters(await passwords.hash(PASSWORD))
    assert parameters.type.name == "ID"
    assert parameters.memory_cost >= 19 * 1024
    assert parameters.time_cost >= 2


async def test_only_the_right_password_is_right(passwords: Passwords) -> None:
    hashed = await passwords.hash(PASSWORD)
    assert PASSWORD not in hashed
    assert await passwords.is_right(PASSWORD, hashed)
    assert not await passwords.is_right(PASSWORD + " ", hashed)


async def test_nobody_has_no_right_password(passwords: Passwords) -> None:
    assert not await passwords.is_right("", None)
    assert not await passwords.is_right(PASSWORD, None)


async def test_a_password_is_the_same_on_every_keyboard(passwords: Passwords) -> None:
    hashed = await passwords.hash("ein ruhiger hafen im fru\u0308hling")
    assert await passwords.is_right("ein ruhiger hafen im fr\u00fchling", hashed)


async def test_the_event_loop_goes_on_while_passwords_are_hashed(passwords: Passwords) -> None:
    hashing = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(4)]
    turns = 0
    while not all(task.done() for task in hashing):
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10  # on the loop itself each hash would have taken one turn


async def test_too_many_who_wait_are_sent_away(passwords: Passwords) -> None:
    tries = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(MAX_WAITING + 1)]
    with pytest.raises(TryLaterError):
        await tries[-1]
    assert not tries[0].done() or tries[0].exception() is None
    for task in tries:
        task.cancel()
    await asyncio.gather(*tries, return_exceptions=True)
    assert await passwords.hash(PASSWORD)  # those who left have made room


def test_a_hash_with_weaker_parameters_is_outdated(passwords: Passwords) -> None:
    assert passwords.is_outdated(PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD))


async def test_a_hash_of_today_is_not_outdated(passwords: Passwords) -> None:
    assert not passwords.is_outdated(await passwords.hash(PASSWORD))


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("x4-Kp9!vQz2_Lm", id="14 characters"),
        pytest.param("harbour at dawn " * 17, id="more than 256 characters"),
        pytest.param("Password1234567!", id="common"),
        pytest.param("Ada.Lovelace@example.org", id="the e-mail address"),
    ],
)
def test_some_passwords_will_not_do(passwords: Passwords, password: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        passwords.check_new(password, email="ada.lovelace@example.org")
    assert caught.value.param == "password"
    assert password not in caught.value.message


@pytest.mark.parametrize(
    "password",
    ["x4-Kp9!vQz2_Lmn", "ein ruhiger hafen", "静かな港の夜明けに船が出る頃だ", "a quiet harbour" + "x7" * 120 + "y"],
    ids=["15 characters", "words", "any script", "256 characters"],
)
def test_length_is_all_a_password_needs(passwords: Passwords, password: str) -> None:
    assert 15 <= len(password) <= MAX_LENGTH
    passwords.check_new(password, email="ada@example.org")
