"""Bodies are bounded before they are read, and every answer has an id; test_hostile_input.py has what is refused."""

import json
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from gateway.security_headers import SECURITY_HEADERS
from tests.end_to_end.client import Client, chat
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer
from tests.raw_http import post_by_hand


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
)
async def test_ways_to_declare_json(stack: Stack, content_type: str) -> None:
    model = stack.model(Answer(("text",)))

    response = await post(await stack.client(), json.dumps(chat(model)).encode(), {"Content-Type": content_type})

    assert response.status_code == 200


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
