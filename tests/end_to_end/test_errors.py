"""Whatever a client sends, the answer says in one shape what is wrong, and nothing of it is queued."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from gateway.security_headers import SECURITY_HEADERS
from tests.end_to_end.client import Client, ask, chat
from tests.end_to_end.stack import MODELS, Stack
from tests.ollama_double import Answer
from tests.raw_http import post_by_hand

MODEL = MODELS[0]
USER = {"role": "user", "content": "canary"}

INVALID: dict[str, tuple[dict[str, Any], str | None]] = {
    "no model": ({"messages": [USER]}, "model"),
    "an empty model": ({"model": "", "messages": [USER]}, "model"),
    "a model of another type": ({"model": 7, "messages": [USER]}, "model"),
    "a model that is a path": ({"model": "../../etc/passwd", "messages": [USER]}, "model"),
    "a model with a newline": ({"model": f"{MODEL}\n", "messages": [USER]}, "model"),
    "no messages": ({"model": MODEL}, "messages"),
    "an empty list of messages": ({"model": MODEL, "messages": []}, "messages"),
    "messages of another type": ({"model": MODEL, "messages": "canary"}, "messages"),
    "an unknown field": (chat(MODEL, temprature=1), "temprature"),
    "an unknown field of a message": ({"model": MODEL, "messages": [USER | {"name": "x"}]}, "messages[0].name"),
    "an unknown role": ({"model": MODEL, "messages": [USER | {"role": "root"}]}, "messages[0].role"),
    "a message without content": ({"model": MODEL, "messages": [{"role": "user"}]}, "messages[0].content"),
    "content of another type": ({"model": MODEL, "messages": [USER | {"content": 1}]}, "messages[0].content"),
    "content that is nothing": ({"model": MODEL, "messages": [USER | {"content": None}]}, "messages[0].content"),
    "an unknown option": (chat(MODEL, options={"temprature": 1}), "options.temprature"),
    "an option that steers the machine": (chat(MODEL, options={"num_gpu": 99}), "options.num_gpu"),
    "an option beyond its range": (chat(MODEL, options={"temperature": -1}), "options.temperature"),
    "an option of another type": (chat(MODEL, options={"top_k": "many"}), "options.top_k"),
    "a fraction for a whole number": (chat(MODEL, options={"top_k": 1.5}), "options.top_k"),
    "a format that nobody knows": (chat(MODEL, format="xml"), "format"),
    "tools of another type": (chat(MODEL, tools={"type": "function"}), "tools"),
    "a way to think that nobody knows": (chat(MODEL, think="hardest"), "think"),
    "no time at all": (chat(MODEL, timeout_ms=0), "timeout_ms"),
    "negative time": (chat(MODEL, queue_timeout_ms=-1), "queue_timeout_ms"),
    "time beyond any number": (chat(MODEL, timeout_ms=10**30), "timeout_ms"),
    "a yes for a number": (chat(MODEL, timeout_ms=True), "timeout_ms"),
    "NUL in a message": (chat(MODEL, messages=ask("a\x00b")), None),
}
MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "half of an object": b'{"model": "' + MODEL.encode(),
    "two objects": b"{}{}",
    "a word": b"canary",
    "single quotes": b"{'model': 'x'}",
    "a comma too many": b'{"model": "x",}',
    "NaN": b'{"options": {"temperature": NaN}}',
    "bytes that are no UTF-8": b'{"model": "\xff\xfe"}',
    "UTF-16": json.dumps(chat(MODEL)).encode("utf-16"),
    "a bare control character": b'{"model": "a\nb"}',
    "absurd nesting": json.dumps({"model": MODEL, "messages": [USER], "format": {"x": None}}).encode()[:-6]
    + b"[" * 200_000,
}
NOT_JSON: dict[str, dict[str, str]] = {
    "no content type": {"Content-Type": ""},
    "text": {"Content-Type": "text/plain"},
    "a form": {"Content-Type": "application/x-www-form-urlencoded"},
    "another character set": {"Content-Type": "application/json; charset=latin-1"},
    "compressed": {"Content-Type": "application/json", "Content-Encoding": "gzip"},
}
STRANGERS: dict[str, dict[str, str]] = {
    "no token": {},
    "a scheme without a token": {"Authorization": "Bearer"},
    "another scheme": {"Authorization": "Basic YWRhOmFkYQ=="},
    "a token that is none": {"Authorization": "Bearer canary"},
    "an API key that nobody has": {"Authorization": "Bearer sk-ds-0000000000000000"},
    "a token of no algorithm": {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."},
}


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/stream"])
@pytest.mark.parametrize(("body", "param"), INVALID.values(), ids=INVALID.keys())
async def test_values_that_are_wrong(stack: Stack, path: str, body: dict[str, Any], param: str | None) -> None:
    response = await (await stack.client()).http.post(path, json=body)

    assert_refused(response, 422, "invalid_request")
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_bodies_that_are_no_json(stack: Stack, body: bytes) -> None:
    response = await post(await stack.client(), body)

    assert_refused(response, 400, "malformed_body")


async def test_json_that_nests_absurdly(stack: Stack) -> None:
    body = b'{"model": "%b", "messages": [], "format": {"x": %b%b}}' % (MODEL.encode(), b"[" * 200_000, b"]" * 200_000)

    response = await post(await stack.client(), body)

    assert_refused(response, 400, "malformed_body")


@pytest.mark.parametrize("escape", [rb"\ud83d", rb"\ude00", rb"\ude00\ud83d"])
async def test_half_of_a_surrogate_pair(stack: Stack, escape: bytes) -> None:
    body = b'{"model": "%b", "messages": [{"role": "user", "content": "%b"}]}' % (MODEL.encode(), escape)

    response = await post(await stack.client(), body)

    assert_refused(response, 422, "invalid_request")


@pytest.mark.parametrize("headers", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_bodies_that_are_not_declared_as_json(stack: Stack, headers: dict[str, str]) -> None:
    response = await post(await stack.client(), json.dumps(chat(MODEL)).encode(), headers)

    assert_refused(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
)
async def test_ways_to_declare_json(stack: Stack, content_type: str) -> None:
    model = stack.model(Answer(("text",)))

    response = await post(await stack.client(), json.dumps(chat(model)).encode(), {"Content-Type": content_type})

    assert response.status_code == 200


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS.keys())
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/chat"), ("POST", "/v1/chat/stream"), ("DELETE", "/v1/chat/1"), ("GET", "/v1/auth/me")],
)
async def test_strangers(stack: Stack, method: str, path: str, headers: dict[str, str]) -> None:
    """They are told nothing of what is wrong with their body, nor whether a job exists."""
    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        response = await http.request(method, path, content=b"canary", headers=headers)

    assert_refused(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_bodies_that_are_too_large_are_refused_before_they_are_sent(stack: Stack) -> None:
    client = await stack.client()

    answer = await by_hand(client, "/v1/chat", {"Content-Length": str((20 << 20) + 1)})

    assert_refused(answer, 413, "body_too_large")


async def test_bodies_that_do_not_say_how_large_they_are_are_refused_before_their_end(stack: Stack) -> None:
    client = await stack.client()
    megabyte = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"

    answer = await by_hand(client, "/v1/chat", {"Transfer-Encoding": "chunked"}, [megabyte] * 21)

    assert_refused(answer, 413, "body_too_large")


@pytest.mark.parametrize("declared", [{"Content-Length": str(40 << 20)}, {}], ids=["declared", "chunked"])
async def test_a_client_that_sends_all_of_it_learns_why_it_was_refused(stack: Stack, declared: dict[str, str]) -> None:
    """It looks for the answer when it has sent everything: a connection reset before that would tell it nothing."""

    async def megabytes() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * (1 << 20)

    response = await (await stack.client()).http.post(
        "/v1/chat", content=megabytes(), headers={"Content-Type": "application/json", **declared}
    )

    assert_refused(response, 413, "body_too_large")


async def test_smaller_bodies_suffice_elsewhere(stack: Stack) -> None:
    answer = await by_hand(await stack.client(), "/v1/auth/login", {"Content-Length": str((1 << 20) + 1)})

    assert_refused(answer, 413, "body_too_large")


async def test_paths_and_methods_that_are_not_there(stack: Stack) -> None:
    http = (await stack.client()).http

    assert_refused(await http.get("/v1/nothing"), 404, "not_found")
    assert_refused(await http.get("/"), 404, "not_found")
    wrong_method = await http.put("/v1/chat", json={})
    assert_refused(wrong_method, 405, "method_not_allowed")
    assert "POST" in wrong_method.headers["Allow"]


@pytest.mark.parametrize("given", ["a", "A-z_0.9", "x" * 128])
async def test_the_request_id_of_the_client_is_kept(stack: Stack, given: str) -> None:
    response = await (await stack.client()).http.get("/v1/nothing", headers={"X-Request-Id": given})

    assert response.headers["X-Request-Id"] == response.json()["error"]["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "a/b", "ü".encode().decode("latin-1")])
async def test_a_request_id_that_could_do_harm_is_replaced(stack: Stack, given: str) -> None:
    response = await (await stack.client()).http.get(
        "/v1/nothing", headers=[(b"X-Request-Id", given.encode("latin-1"))]
    )

    assert response.headers["X-Request-Id"] != given
    assert len(response.headers["X-Request-Id"]) == 36


async def post(client: Client, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """Send a body as it is; as JSON unless the headers say otherwise."""
    return await client.http.post(
        "/v1/chat", content=body, headers={"Content-Type": "application/json"} | (headers or {})
    )


async def by_hand(client: Client, path: str, headers: dict[str, str], pieces: Sequence[bytes] = ()) -> httpx.Response:
    """Send a body that need not be whole."""
    authorization = {"Authorization": f"Bearer {client.account.token}"}
    return await post_by_hand(f"{client.http.base_url}{path}", authorization | headers, pieces)


def assert_refused(response: httpx.Response, status: int, code: str) -> None:
    """Hold an error to the shape that all of them have."""
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers.items() >= {(name.decode(), value.decode()) for name, value in SECURITY_HEADERS}
    assert response.json().keys() == {"error"}
    assert response.json()["error"].keys() == {"code", "type", "message", "param", "request_id"}
    assert response.json()["error"]["request_id"] == response.headers["X-Request-Id"]
    assert "canary" not in response.text  # nothing of what was sent comes back
