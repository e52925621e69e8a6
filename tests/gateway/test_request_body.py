import re
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import Struct

from gateway.request_body import ONE_LINE, check_headers, to_kind
from gateway.strict_json import MAX_FAULT_CHARS, read_json
from shared.errors import InvalidRequestError, MalformedBodyError, UnsupportedMediaTypeError
from tests.processes import ServerProcess
from tests.raw_http import post_by_hand

MAX_BYTES = 1 << 20


class Item(Struct, forbid_unknown_fields=True):
    name: str


class Body(Struct, forbid_unknown_fields=True):
    text: str
    number: int = 0
    items: list[Item] = []
    anything: Any = None


def read(body: bytes) -> Body:
    return to_kind(read_json(body), Body)


@pytest.mark.parametrize("content_type", [b"text/plain", b"application/x-www-form-urlencoded"])
def test_where_any_content_type_will_do_a_body_is_json_all_the_same(content_type: bytes) -> None:
    headers = [(b"content-type", content_type)]
    check_headers(headers, MAX_BYTES, any_content_type=True)
    check_headers([], MAX_BYTES, any_content_type=True)

    with pytest.raises(UnsupportedMediaTypeError):
        check_headers(headers, MAX_BYTES, any_content_type=False)
    with pytest.raises(UnsupportedMediaTypeError):
        check_headers([(b"content-encoding", b"gzip")], MAX_BYTES, any_content_type=True)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"text":', id="an end too early"),
        pytest.param(b'{"text":1', id="a wrong value before an end too early"),
        pytest.param(b'{"text":"a"} x', id="something after the end"),
        pytest.param(b"\xef\xbb\xbf" + b'{"text":"a"}', id="a byte order mark"),
        pytest.param(b'{"text":"a","number":NaN}', id="NaN"),
        pytest.param(b'{"text":"a\nb"}', id="a line feed inside a string"),
        pytest.param(b'{"text":"a\x00b"}', id="a NUL byte"),
        pytest.param(b'{"text":"\xff"}', id="no UTF-8 in a value"),
        pytest.param(b'{"\xff":"a"}', id="no UTF-8 in a name"),
        pytest.param(b'{"text":"\xed\xa0\x80"}', id="a surrogate in UTF-8"),
        pytest.param(b'{"text":1,"x":"\xff"}', id="a wrong value before no UTF-8"),
        pytest.param(b"[" * 200_000, id="absurd nesting"),
        pytest.param(b'{"text":"a","anything":' + b"[" * 200_000, id="absurd nesting where anything may be"),
    ],
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        read(body)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param(b"null", None, id="null"),
        pytest.param(b"[]", None, id="a list"),
        pytest.param(b"{}", "text", id="a missing field"),
        pytest.param(b'{"text":1}', "text", id="a wrong type"),
        pytest.param(b'{"text":"a","number":1.5}', "number", id="a fraction"),
        pytest.param(b'{"text":"a","number":1e400}', None, id="a huge number"),
        pytest.param(b'{"text":"a","number":' + b"9" * 5000 + b"}", None, id="a long number"),
        pytest.param(b'{"text":"a","more":1}', "more", id="an unknown field"),
        pytest.param(b'{"text":"a","items":[{"name":"b"},{}]}', "items[1].name", id="a missing field further down"),
        pytest.param(b'{"text":"a","items":[{"name":"b","x":1}]}', "items[0].x", id="an unknown field further down"),
        pytest.param(rb'{"text":"\u0000"}', None, id="an escaped NUL"),
        pytest.param(rb'{"text":"\\\u0000"}', None, id="an escaped NUL behind a backslash"),
        pytest.param(rb'{"text":"\ud800"}', None, id="half a pair, the upper"),
        pytest.param(rb'{"text":"\uDC00"}', None, id="half a pair, the lower"),
        pytest.param(rb'{"text":"\ud83d\u0041"}', None, id="half a pair before something else"),
    ],
)
def test_wrong_values_name_their_field(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(body)
    assert type(caught.value) is InvalidRequestError
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(rb'{"text":"\ud83d\ude00"}', "😀", id="a whole pair"),
        pytest.param(rb'{"text":"\\u0000"}', r"\u0000", id="the text of an escape"),
        pytest.param(rb'{"text":"\\ud800"}', r"\ud800", id="the text of half a pair"),
        pytest.param(b'{"text":"\xc2\x85\xe2\x80\xa8"}', "\u0085\u2028", id="line ends of other standards"),
        pytest.param(rb'{"text":"\u001f\u007f"}', "\x1f\x7f", id="other control characters"),
    ],
)
def test_harmless_text_is_taken_as_it_is(body: bytes, text: str) -> None:
    assert read(body).text == text


def test_a_fault_comes_back_at_a_bearable_length() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(msgspec.json.encode({"text": "a", "x" * 1_000_000: 1}))
    assert len(caught.value.message) <= MAX_FAULT_CHARS + 1
    assert len(caught.value.param or "") == MAX_FAULT_CHARS


@pytest.mark.parametrize("name", ["", "Ada's laptop", "naïve 😀", "\u202eright to left"])
def test_a_name_is_one_line(name: str) -> None:
    assert re.match(ONE_LINE, name)


@pytest.mark.parametrize("name", ["a\n", "\ra", "a\x00", "\x1b[2J", "\x7f", "\x85", "\u2028"])
def test_a_name_has_no_control_characters(name: str) -> None:
    assert not re.match(ONE_LINE, name)


LOGIN = "/v1/auth/login"
CREDENTIALS = b'{"email":"nobody-who-signs-up@example.org","password":"a quiet harbour at dawn"}'


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no type"),
        pytest.param({"Content-Type": "text/plain"}, id="text"),
        pytest.param({"Content-Type": "application/jsonp"}, id="a longer name"),
        pytest.param({"Content-Type": "application/json; charset=latin-1"}, id="another charset"),
        pytest.param({"Content-Type": "application/json", "Content-Encoding": "gzip"}, id="compressed"),
    ],
)
async def test_only_plain_json_is_read(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    response = await client.post(LOGIN, content=CREDENTIALS, headers=headers)
    assert response.status_code == 415
    assert response.json()["error"]["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'],
    ids=["plain", "with charset", "in another spelling"],
)
async def test_json_may_name_its_charset(client: httpx.AsyncClient, content_type: str) -> None:
    response = await client.post(LOGIN, content=CREDENTIALS, headers={"Content-Type": content_type})
    assert response.json()["error"]["code"] == "unauthenticated"


async def test_a_body_that_says_it_is_too_large_is_refused_unread(gateway: ServerProcess) -> None:
    answer = await post_by_hand(gateway.url + LOGIN, {"Content-Length": "4097"})  # of which not one byte is sent
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


async def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(gateway: ServerProcess) -> None:
    endless = b"1001\r\n" + b" " * 4097  # the chunk, and the body, never end
    answer = await post_by_hand(gateway.url + LOGIN, {"Transfer-Encoding": "chunked"}, [endless])
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


async def test_a_body_as_large_as_allowed_is_read(client: httpx.AsyncClient) -> None:
    response = await client.post(LOGIN, content=CREDENTIALS.ljust(4096), headers={"Content-Type": "application/json"})
    assert response.json()["error"]["code"] == "unauthenticated"


async def test_a_body_that_does_not_come_is_given_up(gateway: ServerProcess) -> None:
    answer = await post_by_hand(gateway.url + LOGIN, {"Content-Length": "100"}, [b"{"])
    assert answer.status_code == 408
    assert answer.json()["error"]["code"] == "request_timeout"
    assert answer.headers["Connection"] == "close"
