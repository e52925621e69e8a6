import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api_keys.key_format import (
    PREFIX,
    RANDOM_CHARS,
    SHOWN_CHARS,
    digest,
    is_api_key,
    new_api_key,
    shown,
)

KEY = "sk-ds-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ1qXv8N"


def test_a_key_is_a_key() -> None:
    keys = {new_api_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(is_api_key(key) for key in keys)
    assert all(re.fullmatch(r"sk-ds-[0-9A-Za-z]{42}", key) for key in keys)


def test_what_is_not_shown_of_it_cannot_be_guessed() -> None:
    assert math.log2(62) * (RANDOM_CHARS - SHOWN_CHARS) >= 190


def test_the_form_stays_what_secret_scanners_were_told() -> None:
    assert is_api_key(KEY)


@given(place=st.integers(0, len(KEY) - 1), typed=st.characters())
def test_a_typo_is_none(place: int, typed: str) -> None:
    assert is_api_key(KEY[:place] + typed + KEY[place + 1 :]) == (typed == KEY[place])


@given(place=st.integers(0, len(KEY) - 2))
def test_nor_are_two_letters_that_changed_places(place: int) -> None:
    swapped = KEY[:place] + KEY[place + 1] + KEY[place] + KEY[place + 2 :]
    assert is_api_key(swapped) == (swapped == KEY)


@pytest.mark.parametrize("text", ["", PREFIX, KEY[:-1], KEY + "0", f" {KEY}", f"{KEY}\n", KEY.lower(), KEY * 1000])
def test_nor_is_less_or_more_than_a_key(text: str) -> None:
    assert not is_api_key(text)


def test_little_of_it_is_shown() -> None:
    assert shown(KEY) == "sk-ds-0123"


def test_its_digest_depends_on_all_of_it_and_on_the_secret() -> None:
    digests = {digest(key, secret=secret) for key in (KEY, new_api_key()) for secret in (b"one", b"two")}
    assert {len(found) for found in digests} == {32}
    assert len(digests) == 4
