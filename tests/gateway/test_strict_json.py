"""A JSON body means the same to every reader, or is refused; and none stops the event loop for long."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.strict_json import MAX_ESCAPES_MENDED, MAX_VALUES, mend_text, read_json
from shared.errors import InvalidRequestError

LONG = b"x" * 300_000  # makes a body one of the large ones, which are looked at in another way

names = st.sampled_from(["a", "b", ":", "a:", '"', "\\", "\\u003a", "é", "😀", "", "k" * 2_000])
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(':,\\"a{}[]\u00e9\U0001f600\n', max_size=8))


def escape(text: str) -> str:
    """JSON's string for a text, with every character as an escape."""
    units = text.encode("utf-16-be").hex()
    return '"' + "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)) + '"'


strings = names.map(partial(json.dumps, ensure_ascii=False)) | names.map(escape)
spaces = st.sampled_from(["", " ", "\n\t"])
values = st.recursive(
    st.builds(json.dumps, scalars) | strings,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
        | st.lists(st.tuples(strings, spaces, inner), max_size=3).map(
            lambda members: "{" + ",".join(f"{name}{space}:{value}" for name, space, value in members) + "}"
        )
    ),
    max_leaves=12,
)


def has_a_name_twice(text: str) -> bool:
    found: list[bool] = []

    def look(members: list[tuple[str, Any]]) -> None:
        found.append(len(members) != len(dict(members)))

    json.loads(text, object_pairs_hook=look)
    return any(found)


@pytest.mark.parametrize("is_large", [False, True], ids=["a small body", "a large body"])
@given(text=values)
def test_a_body_is_read_unless_a_name_stands_twice(is_large: bool, text: str) -> None:  # noqa: FBT001  a parameter
    body = b'["%b",%b]' % (LONG if is_large else b"", text.encode())
    if has_a_name_twice(text):
        with pytest.raises(InvalidRequestError, match="twice"):
            read_json(body)
    else:
        assert read_json(body)[1] == json.loads(text)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":1,"a":1}', id="the same value"),
        pytest.param(b'{"a":1,"b":2,"a":3}', id="something between"),
        pytest.param(rb'{"a":1,"\u0061":2}', id="one of them an escape"),
        pytest.param(rb'{":":1,"\u003A":2}', id="a colon, and as an escape"),
        pytest.param(b'[[{"x":{"a":1 , "a" : ":"}}]]', id="deep down"),
        pytest.param(b'{"a":{"b":1,"c":2},"a":3}', id="an object that gets lost"),
        pytest.param(b'{"a":"%b","a":1}' % LONG, id="a long string that gets lost"),
        pytest.param(b'{"%b":1,"%b":1}' % (LONG, LONG), id="long names"),
    ],
)
def test_no_name_stands_twice_in_an_object(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="twice"):
        read_json(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(rb'{"a":"\u003a:","b":"\\u003a","c":"\\\u003a"}', id="colons in every spelling"),
        pytest.param(b'{"a:":{"a":1},"a":[{"a":1},{"a":1}]}', id="names of other objects"),
        pytest.param(b'{"a":"%b","b":"%b"}' % (LONG, LONG), id="long values"),
        pytest.param(b'{"%ba":1,"%bb":1}' % (LONG, LONG), id="long names"),
        pytest.param(b'{"a":"%b\\"%b","b" :"%b"}' % (LONG, LONG, LONG), id="quotes in long values"),
        pytest.param(b'{"a":"%b\\\\","b":"\\\\\\""}' % LONG, id="backslashes at the ends"),
    ],
)
def test_what_only_looks_like_it_is_read(body: bytes) -> None:
    assert read_json(body) == json.loads(body)


@pytest.mark.parametrize(
    "dense",
    [
        pytest.param(b"[" + b"[],[]," * MAX_VALUES + b"1]", id="empty lists"),
        pytest.param(b"[" + b'"","",' * MAX_VALUES + b"1]", id="empty strings"),
        pytest.param(b"{" + b",".join(b'"%d":1' % i for i in range(MAX_VALUES)) + b"}", id="members"),
        pytest.param(b'["a\\"",' + b"1,,1," * MAX_VALUES, id="no JSON"),
    ],
)
def test_a_large_body_has_a_bounded_number_of_values(dense: bytes) -> None:
    with pytest.raises(InvalidRequestError, match=f"more than {MAX_VALUES} values"):
        read_json(dense)


@pytest.mark.parametrize(
    "sparse",
    [
        pytest.param(b"[" + b",".join([b"9" * 4_290] * 400) + b"]", id="long numbers"),
        pytest.param(b"[1." + b"9" * 2_000_000 + b"]", id="a number that does not end"),
        pytest.param(b'["a"' + b" " * 2_000_000 + b"]", id="spaces"),
        pytest.param(b"[" * 2_000_000, id="nothing but an abyss"),
    ],
)
def test_a_large_body_is_text(sparse: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="not in strings"):
        read_json(sparse)


def test_text_may_have_as_many_commas_and_quotes_as_it_likes() -> None:
    text = '"a", ' * 4 * MAX_VALUES
    assert read_json(json.dumps([text]).encode()) == [text]


@pytest.mark.parametrize("padding", [b"", LONG], ids=["a small body", "a large body"])
@pytest.mark.parametrize(
    ("text", "has_nul"),
    [
        (rb"\u0000", True),
        (rb"\\u0000", False),
        (rb"\\\u0000", True),
        (rb"\\\\u0000", False),
        (rb"\"\u0000", True),
        (rb"\\\"u0000", False),
    ],
)
def test_nul_is_known_by_its_backslashes(padding: bytes, text: bytes, has_nul: bool) -> None:  # noqa: FBT001
    body = b'["%b%b"]' % (padding, text)
    if has_nul:
        with pytest.raises(InvalidRequestError, match="NUL"):
            read_json(body)
    else:
        assert read_json(body) == json.loads(body)


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        (r"a\ud83d", "a\ufffd"),
        (r"\uDE00a", "\ufffda"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\ud83d\uD83D\uDE00\ude00", "\ufffd\U0001f600\ufffd"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\ud83d\n\ude00", "\ufffd\n\ufffd"),
        (r"a\u0000b", "a\ufffdb"),
        (r"\\ud83d \\u0000", r"\ud83d \u0000"),
        (r"\\\ud83d", "\\\ufffd"),
        (r"\"\ud83d\"", '"\ufffd"'),
        ("caf\u00e9", "caf\u00e9"),
    ],
)
@pytest.mark.parametrize("beside", ["", "x" * 300_000], ids=["a small body", "a large body"])
def test_what_is_no_character_becomes_a_replacement_where_that_is_wanted(text: str, mended: str, beside: str) -> None:
    body = f'{{"{text}": ["{text}", "{beside}"]}}'.encode()

    assert read_json(mend_text(body)) == {mended: [mended, beside]}


@given(st.text(st.sampled_from('a\\"\ud83d\ude00\x00\U0001f600')))
def test_any_text_can_be_mended(text: str) -> None:
    """As by a decoder that lets halves pass, which then become U+FFFD one by one."""
    units = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\x00", "\ufffd")
    body = json.dumps([text]).encode()

    assert read_json(mend_text(body)) == [units]


def test_text_of_nothing_but_halves_is_refused() -> None:
    """To mend it would stop the event loop."""
    with pytest.raises(InvalidRequestError, match="half of a surrogate pair"):
        read_json(mend_text(b'["%b"]' % (rb"\ud83d" * (MAX_ESCAPES_MENDED + 1))))
