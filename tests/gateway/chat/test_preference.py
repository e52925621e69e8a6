import pytest

from gateway.chat.preference import prefers_async


@pytest.mark.parametrize(
    ("preferences", "is_async"),
    [
        pytest.param([], False, id="none"),
        pytest.param([b"respond-async"], True, id="the one"),
        pytest.param([b"Respond-Async; foo=bar"], True, id="in another case, with a parameter"),
        pytest.param([b"wait=10, respond-async"], True, id="among others"),
        pytest.param([b"return=minimal", b"respond-async"], True, id="in a header of its own"),
        pytest.param([b"respond-async-please, x-respond-async"], False, id="another word"),
        pytest.param([b"return=respond-async"], False, id="as a value"),
        pytest.param([b"\xff,;=,"], False, id="no token at all"),
    ],
)
def test_the_preference_is_found_as_rfc_7240_writes_it(preferences: list[bytes], *, is_async: bool) -> None:
    headers = [(b"host", b"respond-async"), *((b"prefer", value) for value in preferences)]
    assert prefers_async(headers) == is_async
