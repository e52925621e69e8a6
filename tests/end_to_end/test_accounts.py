"""From signing up to the first answer, and what outsiders cannot learn on the way."""

import httpx
import pytest

from shared.ids import is_id
from tests.end_to_end.client import HANG_S, chat
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer

PASSWORD = "canary in a quiet harbour"


@pytest.fixture
async def http(stack: Stack) -> httpx.AsyncClient:
    """A client of nobody."""
    return httpx.AsyncClient(base_url=stack.gateways[0].url, timeout=HANG_S)


async def test_from_signing_up_to_the_first_answer(stack: Stack, http: httpx.AsyncClient) -> None:
    model = stack.model(Answer(("text",)))

    async with http:
        signed_up = await http.post("/v1/auth/signup", json={"email": "Grace@Example.ORG", "password": PASSWORD})
        logged_in = await http.post("/v1/auth/login", json={"email": "grace@example.org", "password": PASSWORD})
        bearer = {"Authorization": f"Bearer {logged_in.json()['access_token']}"}
        me = await http.get("/v1/auth/me", headers=bearer)
        answer = await http.post("/v1/chat", json=chat(model), headers=bearer)

    assert (signed_up.status_code, signed_up.json().keys()) == (201, {"id", "email"})
    assert is_id(signed_up.json()["id"])
    assert signed_up.json()["email"] == "grace@example.org"
    assert logged_in.status_code == 200
    assert (logged_in.json()["token_type"], logged_in.json()["expires_in"]) == ("bearer", 3600)
    assert me.json().items() >= {"id": signed_up.json()["id"], "email": "grace@example.org", "role": "user"}.items()
    assert answer.status_code == 200


async def test_an_address_can_sign_up_once(http: httpx.AsyncClient) -> None:
    async with http:
        first = await http.post("/v1/auth/signup", json={"email": "twice@example.org", "password": PASSWORD})
        second = await http.post("/v1/auth/signup", json={"email": "TWICE@example.org", "password": PASSWORD * 2})

    assert first.status_code == 201
    assert (second.status_code, second.json()["error"]["code"]) == (409, "email_taken")


async def test_a_wrong_address_and_a_wrong_password_are_told_alike(stack: Stack, http: httpx.AsyncClient) -> None:
    account = (await stack.client()).account

    async with http:
        wrong = [
            await http.post(
                "/v1/auth/login", json={"email": email, "password": PASSWORD}, headers={"X-Request-Id": "x"}
            )
            for email in (account.email, "nobody-at-all@example.org")
        ]

    assert wrong[0].status_code == wrong[1].status_code == 401
    assert wrong[0].content == wrong[1].content
    for response in wrong:
        del response.headers["Date"]
    assert wrong[0].headers == wrong[1].headers
