from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.api_keys.key_format import is_api_key
from shared.ids import new_id

PASSWORD = "a quiet harbour at dawn"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def session(client: httpx.AsyncClient) -> dict[str, str]:
    """The headers of somebody who has just signed up and logged in."""
    credentials = {"email": f"{new_id()}@example.org", "password": PASSWORD}
    await client.post("/v1/auth/signup", json=credentials)
    return bearer((await client.post("/v1/auth/login", json=credentials)).json()["access_token"])


async def make(client: httpx.AsyncClient, session: dict[str, str], **fields: object) -> dict[str, Any]:
    response = await client.post("/v1/api-keys", json={"name": "ci", **fields}, headers=session)
    assert response.status_code == 201, response.text
    return response.json()


async def test_a_key_is_shown_once_and_lets_its_user_in(client: httpx.AsyncClient, session: dict[str, str]) -> None:
    expires_at = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    made = await make(
        client,
        session,
        models=["b:1", "a", "a"],
        expires_at=expires_at,
        limits={"requests_per_minute": 5, "priority": "batch"},
        scopes=["usage", "chat"],
    )
    key = made.pop("key")
    assert is_api_key(key)
    assert made == {
        "id": made["id"],
        "name": "ci",
        "prefix": key[:10],
        "scopes": ["chat", "usage"],
        "models": ["a", "b:1"],
        "limits": {"requests_per_minute": 5, "priority": "batch"},
        "created_at": made["created_at"],
        "expires_at": expires_at,
        "last_used_at": None,
    }
    listed = await client.get("/v1/api-keys", headers=session)
    assert listed.json() == {"data": [made], "next_cursor": None}
    assert key not in listed.text
    assert key.removeprefix(made["prefix"]) not in listed.text

    me = [(await client.get("/v1/auth/me", headers=headers)).json()["id"] for headers in (session, bearer(key))]
    assert me[0] == me[1]


async def test_what_is_left_out_is_not_restricted(client: httpx.AsyncClient, session: dict[str, str]) -> None:
    made = await make(client, session)
    assert made["scopes"] == ["chat", "conversations", "usage"]
    assert (made["models"], made["limits"], made["expires_at"]) == (None, {}, None)


async def test_a_key_that_is_revoked_lets_nobody_in(client: httpx.AsyncClient, session: dict[str, str]) -> None:
    made = await make(client, session)
    headers = bearer(made["key"])
    assert (await client.get("/v1/auth/me", headers=headers)).status_code == 200

    for _ in range(2):
        revoked = await client.delete(f"/v1/api-keys/{made['id']}", headers=session)
        assert (revoked.status_code, revoked.content) == (204, b"")

    refused = await client.get("/v1/auth/me", headers=headers)
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert (await client.get("/v1/api-keys", headers=session)).json()["data"] == []


async def test_a_key_makes_lists_and_revokes_no_keys(client: httpx.AsyncClient, session: dict[str, str]) -> None:
    made = await make(client, session)
    for method, path in (("POST", ""), ("GET", ""), ("DELETE", f"/{made['id']}")):
        body = {"name": "more"} if method == "POST" else None
        refused = await client.request(method, f"/v1/api-keys{path}", headers=bearer(made["key"]), json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    ("scope", "path"),
    [("chat", "/v1/usage"), ("usage", "/v1/chat"), ("conversations", f"/v1/chat/{new_id()}")],
    ids=["usage", "chat", "a chat"],
)
async def test_a_key_opens_what_its_scopes_name(
    client: httpx.AsyncClient, session: dict[str, str], scope: str, path: str
) -> None:
    made = await make(client, session, scopes=[scope])
    refused = await client.get(path, headers=bearer(made["key"]))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize("scope", ["chat", "usage"])
async def test_and_nothing_less(client: httpx.AsyncClient, session: dict[str, str], scope: str) -> None:
    made = await make(client, session, scopes=[scope])
    assert (await client.get(f"/v1/{scope}", headers=bearer(made["key"]))).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["admin"]}, "scopes[0]"),
        ({"scopes": ["session"]}, "scopes[0]"),
        ({"scopes": "chat"}, "scopes"),
        ({"models": []}, "models"),
        ({"models": [""]}, "models[0]"),
        ({"models": ["a b"]}, "models[0]"),
        ({"models": ["a"] * 101}, "models"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2100-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"expires_at": 4102444800}, "expires_at"),
        ({"limits": {"requests_per_minute": 0}}, "limits.requests_per_minute"),
        ({"limits": {"requests_per_minute": -1}}, "limits.requests_per_minute"),
        ({"limits": {"requests_per_minute": 1.5}}, "limits.requests_per_minute"),
        ({"limits": {"priority": "urgent"}}, "limits.priority"),
        ({"limits": {"requests_per_second": 1}}, "limits.requests_per_second"),
        ({"limits": []}, "limits"),
        ({"key": "sk-ds-mine"}, "key"),
        ({"user_id": "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000"}, "user_id"),
    ],
    ids=str,
)
async def test_what_no_key_can_be_is_refused_by_name(
    client: httpx.AsyncClient, session: dict[str, str], fields: dict[str, object], param: str | None
) -> None:
    response = await client.post("/v1/api-keys", json={"name": "ci", **fields}, headers=session)
    assert (response.status_code, response.json()["error"]["param"]) == (422, param), response.text


async def test_keys_of_others_are_not_there(client: httpx.AsyncClient, session: dict[str, str]) -> None:
    made = await make(client, session)
    credentials = {"email": f"{new_id()}@example.org", "password": PASSWORD}
    await client.post("/v1/auth/signup", json=credentials)
    eve = bearer((await client.post("/v1/auth/login", json=credentials)).json()["access_token"])

    answers = [await client.delete(f"/v1/api-keys/{id_}", headers=eve) for id_ in (made["id"], new_id(), "1")]

    assert {answer.status_code for answer in answers} == {404}
    errors = [{**answer.json()["error"], "request_id": ""} for answer in answers]
    assert errors[0] == errors[1] == errors[2]
    assert (await client.get("/v1/api-keys", headers=eve)).json()["data"] == []
    assert (await client.get("/v1/auth/me", headers=bearer(made["key"]))).status_code == 200


async def test_who_shows_a_key_to_the_list_of_models_is_not_anybody(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models")).status_code == 200
    for wrong in (bearer("sk-ds-wrong"), {"Authorization": "Basic eDp5"}):
        assert (await client.get("/v1/models", headers=wrong)).status_code == 401


async def test_usage_is_told_from_the_beginning(client: httpx.AsyncClient, session: dict[str, str]) -> None:
    usage = await client.get("/v1/usage", params={"group_by": "key,model"}, headers=session)
    assert usage.status_code == 200
    assert usage.json().keys() == {"from", "to", "data", "next_cursor"}
    assert usage.json()["data"] == []
    refused = await client.get("/v1/usage", params={"from": "2020-01-01"}, headers=session)
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "from")
