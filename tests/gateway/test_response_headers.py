import re

import httpx
import pytest

from gateway.security_headers import SECURITY_HEADERS

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/v1/auth/me"], ids=["answer", "unknown path", "refusal"])
async def test_every_response_has_the_security_headers(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    for name, value in SECURITY_HEADERS:
        assert response.headers.get_list(name.decode()) == [value.decode()]
    assert "server" not in response.headers


@pytest.mark.parametrize(
    "request_id",
    ["a", "01a20acc-638c-7245-a6c2-b01bded87208", "A.b_c-9", "x" * 128],
    ids=["one character", "a UUID", "every kind of character", "128 characters"],
)
async def test_the_clients_own_request_id_is_kept(client: httpx.AsyncClient, request_id: str) -> None:
    response = await client.get("/nowhere", headers={"X-Request-Id": request_id})
    assert response.headers.get_list("X-Request-Id") == [request_id]
    assert response.json()["error"]["request_id"] == request_id


@pytest.mark.parametrize(
    "request_id",
    ["", "x" * 129, "two words", "semi;colon", "ümlaut".encode(), "new\tline"],
    ids=["empty", "129 characters", "space", "semicolon", "not ASCII", "tab"],
)
async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient, request_id: str | bytes) -> None:
    raw = request_id.encode() if isinstance(request_id, str) else request_id
    response = await client.get("/nowhere", headers=[(b"X-Request-Id", raw)])
    assert UUID7.fullmatch(response.headers["X-Request-Id"])


async def test_requests_get_different_ids(client: httpx.AsyncClient) -> None:
    ids = {(await client.get("/health")).headers["X-Request-Id"] for _ in range(5)}
    assert len(ids) == 5
