"""Sessions as clients see them."""

import math

import httpx
import pytest
from redis.asyncio import Redis

from tests.processes import ProcessStarter, ServerProcess

PASSWORD = "a quiet harbour at dawn"
NEXT_PASSWORD = "a quiet harbour at dusk"


class Person:
    """Somebody with an account."""

    def __init__(self, client: httpx.AsyncClient, email: str) -> None:
        self._client = client
        self.email = email
        self.tokens: dict[str, str] = {}

    async def log_in(self, password: str = PASSWORD) -> httpx.Response:
        answer = await self._client.post("/v1/auth/login", json={"email": self.email, "password": password})
        if answer.is_success:
            self.tokens = answer.json()
        return answer

    async def refresh(self) -> httpx.Response:
        return await self._client.post("/v1/auth/refresh", json={"refresh_token": self.tokens["refresh_token"]})

    async def ask(self, method: str, path: str, **body: str) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return await self._client.request(method, f"/v1/auth{path}", json=body or None, headers=bearer)


async def person(client: httpx.AsyncClient, email: str) -> Person:
    (await client.post("/v1/auth/signup", json={"email": email, "password": PASSWORD})).raise_for_status()
    person = Person(client, email)
    await person.log_in()
    return person


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_refresh_answers_as_a_login_does(client: httpx.AsyncClient) -> None:
    ada = await person(client, "refresh@example.org")

    answer = await ada.refresh()

    assert answer.status_code == 200
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 3600)
    assert answer.json()["refresh_token"] != ada.tokens["refresh_token"]
    assert (await ada.refresh()).json()["refresh_token"] == answer.json()["refresh_token"]  # as nobody heard of it


@pytest.mark.parametrize(
    ("token", "status"),
    [
        pytest.param("rt-ds-" + "A" * 70, 401, id="made up"),
        pytest.param("x", 401, id="of another form"),
        pytest.param("ü" * 76, 401, id="no ASCII"),
        pytest.param("", 422, id="empty"),
        pytest.param("x" * 257, 422, id="very long"),
        pytest.param(7, 422, id="a number"),
    ],
)
async def test_a_refresh_token_that_is_none_is_refused(client: httpx.AsyncClient, token: object, status: int) -> None:
    answer = await client.post("/v1/auth/refresh", json={"refresh_token": token})

    assert answer.status_code == status
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


async def test_an_access_token_is_no_refresh_token_nor_the_reverse(client: httpx.AsyncClient) -> None:
    ada = await person(client, "mixed-up@example.org")
    ada.tokens = {
        name: ada.tokens[other]
        for name, other in (("access_token", "refresh_token"), ("refresh_token", "access_token"))
    }

    assert (await ada.ask("GET", "/me")).status_code == 401
    assert (await ada.refresh()).status_code in {401, 422}  # it is longer than any refresh token


async def test_after_logging_out_nothing_of_the_session_is_good(
    start_process: ProcessStarter, database_url: str, redis_url: str
) -> None:
    gateway = await start_process("gateway", {"DATABASE_URL": database_url, "REDIS_URL": redis_url})
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        ada = await person(client, "ada@example.org")

        answer = await ada.ask("POST", "/logout")

        assert (answer.status_code, answer.content) == (204, b"")
        assert code_of(await ada.refresh()) == (401, "unauthenticated")
        assert gateway.log_text().count('"logged_out"') == 1


async def test_the_password_is_changed_by_whoever_knows_it(client: httpx.AsyncClient) -> None:
    ada = await person(client, "change@example.org")
    other = Person(client, ada.email)
    await other.log_in()

    wrong = await ada.ask("POST", "/password", current_password=NEXT_PASSWORD, new_password=NEXT_PASSWORD)
    weak = await ada.ask("POST", "/password", current_password=PASSWORD, new_password="short")
    right = await ada.ask("POST", "/password", current_password=PASSWORD, new_password=NEXT_PASSWORD)

    assert code_of(wrong) == (403, "wrong_password")
    assert wrong.json()["error"]["param"] == "current_password"
    assert (weak.status_code, weak.json()["error"]["param"]) == (422, "new_password")
    assert (right.status_code, right.content) == (204, b"")
    assert (await ada.ask("GET", "/me")).status_code == 200
    assert (await ada.refresh()).status_code == 200
    assert (await other.refresh()).status_code == 401
    assert (await other.log_in()).status_code == 401
    assert (await other.log_in(NEXT_PASSWORD)).status_code == 200


async def test_an_account_is_deleted_by_whoever_knows_its_password(client: httpx.AsyncClient) -> None:
    ada = await person(client, "farewell@example.org")

    wrong = await ada.ask("DELETE", "/me", password=NEXT_PASSWORD)
    right = await ada.ask("DELETE", "/me", password=PASSWORD)

    assert code_of(wrong) == (403, "wrong_password")
    assert wrong.json()["error"]["param"] == "password"
    assert (right.status_code, right.content) == (204, b"")
    assert (await ada.refresh()).status_code == 401
    assert (await ada.log_in()).status_code == 401
    again = await client.post("/v1/auth/signup", json={"email": ada.email, "password": PASSWORD})
    assert again.status_code == 201


@pytest.mark.parametrize(("method", "path"), [("POST", "/logout"), ("POST", "/password"), ("DELETE", "/me")])
async def test_strangers_change_nothing(client: httpx.AsyncClient, method: str, path: str) -> None:
    stranger = Person(client, "")
    stranger.tokens = {"access_token": "none"}

    answer = await stranger.ask(method, path, password=PASSWORD)

    assert code_of(answer) == (401, "unauthenticated")


@pytest.fixture
async def strict(start_process: ProcessStarter, database_url: str, redis_url: str) -> ServerProcess:
    """A gateway that has an account wait after two wrong passwords, and lets few tries in from an address."""
    return await start_process(
        "gateway",
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "LOGIN_FAILURES_PER_ACCOUNT": "2",
            "RATE_LIMIT_AUTH_REQUESTS_PER_MINUTE": "8",
        },
    )


async def test_wrong_passwords_are_slowed_down_wherever_they_are_given(strict: ServerProcess, redis: Redis) -> None:
    async with httpx.AsyncClient(base_url=strict.url) as client:
        ada = await person(client, "ada@example.org")
        assert (await ada.log_in(NEXT_PASSWORD)).status_code == 401
        assert (await ada.ask("DELETE", "/me", password=NEXT_PASSWORD)).status_code == 403

        (counted,) = await redis.keys("ds:failures:account:*")
        await redis.hset(counted, "failures", "9")  # pyright: ignore[reportGeneralTypeIssues]  of which 2 are free

        slowed = [
            await ada.log_in(),
            await ada.ask("POST", "/password", current_password=PASSWORD, new_password=NEXT_PASSWORD),
            await ada.ask("DELETE", "/me", password=PASSWORD),
        ]

    assert [code_of(answer) for answer in slowed] == [(429, "too_many_attempts")] * 3
    assert all(60 < int(answer.headers["Retry-After"]) <= 2**7 for answer in slowed)
    assert strict.log_text().count('"login_locked"') == 3


async def test_an_address_has_a_limit_of_its_own_for_these(strict: ServerProcess, redis: Redis) -> None:
    async with httpx.AsyncClient(base_url=strict.url) as client:
        answers = [await client.post("/v1/auth/refresh", json={}) for _ in range(9)]
        others = await client.get("/v1/auth/me")

    assert [answer.status_code for answer in answers] == [422] * 8 + [429]
    assert code_of(answers[-1]) == (429, "rate_limited")
    assert answers[0].headers["RateLimit-Policy"] == '"auth";q=8;w=60, "address";q=600;w=60'
    assert int(answers[-1].headers["Retry-After"]) <= math.ceil(60 / 8)
    assert others.status_code == 401
    assert await redis.keys("ds:failures:*") == []  # nothing was tried


async def test_without_redis_nobody_tries_anything(
    start_process: ProcessStarter, database_url: str, free_port: int
) -> None:
    gateway = await start_process(
        "gateway",
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": f"redis://127.0.0.1:{free_port}/0",
            "RATE_LIMIT_ENABLED": "false",
        },
    )
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        answer = await client.post("/v1/auth/login", json={"email": "ada@example.org", "password": PASSWORD})

    assert code_of(answer) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
