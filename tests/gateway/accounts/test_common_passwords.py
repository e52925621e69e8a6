import pytest

from gateway.accounts.common_passwords import is_common


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("passwordpassword", id="a word twice"),
        pytest.param("Password1234567!", id="a word with digits and a sign"),
        pytest.param("P@ssw0rd!P@ssw0rd!", id="a word in disguise, twice"),
        pytest.param("Liverpool2024!!!!", id="a club and a year"),
        pytest.param("123456789012345", id="digits in order"),
        pytest.param("987654321098765", id="digits in reverse"),
        pytest.param("aaaaaaaaaaaaaaa", id="one letter"),
        pytest.param("!!!!!!!!!!!!!!!", id="one sign"),
        pytest.param("jan jan jan jan jan", id="a short word many times"),
        pytest.param("qwertyuiopasdfgh", id="a row of keys"),
        pytest.param("1qaz2wsx3edc4rfv", id="columns of keys"),
        pytest.param("abcdefghijklmnop", id="the alphabet"),
        pytest.param("correct horse battery staple", id="the famous phrase"),
        pytest.param(
            "".join(chr(ord(letter) + 0xFEE0) for letter in "passwordpassword"), id="a word twice, in wide letters"
        ),
    ],
)
def test_what_attackers_try_first_is_common(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize(
    "password",
    [
        "a quiet harbour at dawn",
        "xkvhqpwmzrtbnfy",
        "492837465019283",
        "Tr0ub4dor&3-and-more",
        "kalt ist der Morgen im Mai",
    ],
)
def test_long_and_unlikely_is_enough(password: str) -> None:
    assert not is_common(password)
