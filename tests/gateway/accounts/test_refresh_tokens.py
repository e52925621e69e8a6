import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts.refresh_tokens import CHARS, PREFIX, RefreshToken, RefreshTokens
from gateway.accounts.signing_keys import SigningKeys
from shared.errors import UnauthenticatedError
from shared.ids import new_id

OLD, NEW = "O" * 32, "N" * 32
TOKEN = RefreshToken(new_id(), 7)
TOKENS = RefreshTokens(SigningKeys(NEW))
WRITTEN = TOKENS.write(TOKEN)


@given(st.uuids().map(str), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read(session_id: str, generation: int) -> None:
    token = RefreshToken(session_id, generation)
    written = TOKENS.write(token)

    assert TOKENS.read(written) == token
    assert len(written) == CHARS
    assert written.startswith(PREFIX)


def test_the_same_token_is_written_the_same() -> None:
    assert RefreshTokens(SigningKeys(NEW, previous=OLD)).write(TOKEN) == WRITTEN


@given(st.integers(len(PREFIX), CHARS - 1), st.sampled_from("Aa9-_=.\n\x00é"))
def test_no_other_character_will_do_anywhere(place: int, char: str) -> None:
    """Not even in the bits of the last one that say nothing."""
    changed = WRITTEN[:place] + char + WRITTEN[place + 1 :]
    if changed != WRITTEN:
        with pytest.raises(UnauthenticatedError):
            TOKENS.read(changed)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(WRITTEN[:-1], id="a character short"),
        pytest.param(WRITTEN + "A", id="a character too long"),
        pytest.param(WRITTEN + "=" * 2, id="padded"),
        pytest.param(WRITTEN.replace("rt-", "sk-"), id="another prefix"),
        pytest.param("é" * CHARS, id="no ASCII"),
        pytest.param(PREFIX + base64.urlsafe_b64encode(bytes(52)).decode()[:70], id="all zero"),
        pytest.param("x" * 100_000, id="very long"),
    ],
)
def test_what_has_another_form_is_none(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        TOKENS.read(text)


def test_the_generation_cannot_be_changed() -> None:
    said = base64.urlsafe_b64decode(WRITTEN.removeprefix(PREFIX) + "==")
    changed = said[:19] + bytes([said[19] + 1]) + said[20:]

    with pytest.raises(UnauthenticatedError):
        TOKENS.read(PREFIX + base64.urlsafe_b64encode(changed).rstrip(b"=").decode())


def test_the_secret_before_is_accepted_and_signs_no_more() -> None:
    old = RefreshTokens(SigningKeys(OLD)).write(TOKEN)
    rotated = RefreshTokens(SigningKeys(NEW, previous=OLD))

    assert rotated.read(old) == rotated.read(WRITTEN) == TOKEN
    assert rotated.write(TOKEN) == WRITTEN
    with pytest.raises(UnauthenticatedError):
        TOKENS.read(old)
