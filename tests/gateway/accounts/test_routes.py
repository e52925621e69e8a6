import asyncio

import httpx
import jwt
import pytest
from argon2 import PasswordHasher, extract_parameters
from sqlalchemy import func, update

from shared.database import users
from shared.database.engine import Database
from shared.database.tables import users as table
from shared.database.users import Role
from tests.processes import ProcessStarter

PASSWORD = "a quiet harbour at dawn"


async def sign_up(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/v1/auth/signup", json={"email": email, "password": password})


async def log_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/v1/auth/login", json={"email": email, "password": password})


def error_of(response: httpx.Response) -> dict[str, str | None]:
    """The error without what differs between any two."""
    return {name: value for name, value in response.json()["error"].items() if name != "request_id"}


async def test_whoever_signs_up_can_log_in_and_is_known(client: httpx.AsyncClient) -> None:
    signed_up = await sign_up(client, "Ada@Example.org")
    assert signed_up.status_code == 201
    user_id = signed_up.json()["id"]
    assert signed_up.json() == {"id": user_id, "email": "ada@example.org"}

    logged_in = await log_in(client, "ADA@example.ORG")
    assert logged_in.status_code == 200
    token = logged_in.json()["access_token"]
    refresh_token = logged_in.json()["refresh_token"]
    assert logged_in.json() == {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": 3600,
        "refresh_token": refresh_token,
    }

    me = await client.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert me.status_code == 200
    created_at = me.json()["created_at"]
    assert created_at.endswith("Z")
    assert me.json() == {
        "id": user_id,
        "email": "ada@example.org",
        "role": "user",
        "created_at": created_at,
        "limits": {
            "requests_per_minute": None,
            "tokens_per_minute": None,
            "concurrent_jobs": None,
            "open_streams": None,
            "priority": "interactive",
        },
    }


async def test_an_address_is_taken_once_however_it_is_spelled_and_however_many_try(client: httpx.AsyncClient) -> None:
    tries = await asyncio.gather(*(sign_up(client, email) for email in ("grace@example.org", "GRACE@example.org") * 2))
    assert sorted(response.status_code for response in tries) == [201, 409, 409, 409]
    taken = next(response for response in tries if response.status_code == 409)
    assert error_of(taken)["code"] == "email_taken"


@pytest.mark.parametrize(
    ("email", "password", "param"),
    [
        pytest.param("ada.example.org", PASSWORD, "email", id="no @"),
        pytest.param("ada@ada@example.org", PASSWORD, "email", id="two @"),
        pytest.param("@example.org", PASSWORD, "email", id="nothing before the @"),
        pytest.param("ada@", PASSWORD, "email", id="nothing after the @"),
        pytest.param("ada @example.org", PASSWORD, "email", id="a space"),
        pytest.param("ada@example.org\n", PASSWORD, "email", id="a line feed at the end"),
        pytest.param("ada@example.org\x7f", PASSWORD, "email", id="a control character"),
        pytest.param(f"{'a' * 250}@b.org", PASSWORD, "email", id="255 characters"),
        pytest.param("ada@example.net", "fourteen chars", "password", id="a short password"),
        pytest.param("ada@example.net", "", "password", id="no password"),
        pytest.param("ada@example.net", "x" * 257, "password", id="a password of 257 characters"),
        pytest.param("ada@example.net", "Password1234567!", "password", id="a common password"),
    ],
)
async def test_what_cannot_be_an_account_names_its_field(
    client: httpx.AsyncClient, email: str, password: str, param: str
) -> None:
    response = await sign_up(client, email, password)
    assert response.status_code == 422
    assert error_of(response)["param"] == param
    assert password not in response.text or not password


async def test_wrong_address_and_wrong_password_are_told_alike(client: httpx.AsyncClient) -> None:
    await sign_up(client, "mary@example.org")
    wrong_password = await log_in(client, "mary@example.org", "a quiet harbour at dusk")
    wrong_address = await log_in(client, "nobody@example.org")
    assert wrong_password.status_code == wrong_address.status_code == 401
    assert error_of(wrong_password) == error_of(wrong_address)
    assert set(wrong_password.headers) == set(wrong_address.headers)
    assert wrong_password.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"Bearer", id="a scheme alone"),
        pytest.param(b"Basic YWRhOnNlY3JldA==", id="another scheme"),
        pytest.param(b"Bearer not.a.token", id="no token of ours"),
        pytest.param("Bearer tökén".encode(), id="not ASCII"),
        pytest.param(b"Bearer " + jwt.encode({}, "x" * 32).encode(), id="somebody else's token"),
    ],
)
async def test_a_credential_that_is_none_is_refused(client: httpx.AsyncClient, authorization: bytes) -> None:
    response = await client.get("/v1/auth/me", headers=[(b"Authorization", authorization)])
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_two_credentials_are_refused(client: httpx.AsyncClient) -> None:
    await sign_up(client, "joan@example.org")
    bearer = f"Bearer {(await log_in(client, 'joan@example.org')).json()['access_token']}"
    twice = await client.get("/v1/auth/me", headers=[("Authorization", bearer), ("Authorization", bearer)])
    assert twice.status_code == 401
    once = await client.get("/v1/auth/me", headers={"Authorization": bearer.replace("Bearer", "bearer")})
    assert once.status_code == 200


async def test_sign_up_can_be_closed(start_process: ProcessStarter, database_url: str, redis_url: str) -> None:
    gateway = await start_process(
        "gateway", {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SIGNUP_MODE": "closed"}
    )
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        refused = await sign_up(client, "ada@example.org")
        assert (refused.status_code, error_of(refused)["code"]) == (403, "forbidden")
        assert (await log_in(client, "ada@example.org")).status_code == 401


async def test_guessing_is_limited_by_address(start_process: ProcessStarter, database_url: str, redis_url: str) -> None:
    """Wrong passwords and wrong tokens spend from one limit; when it is used up, nothing more is told."""
    gateway = await start_process(
        "gateway",
        {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "RATE_LIMIT_ADDRESS_REQUESTS_PER_MINUTE": "4"},
    )
    async with httpx.AsyncClient(base_url=gateway.url, headers={"Authorization": "Bearer wrong"}) as client:
        for path in ("/v1/auth/login", "/v1/auth/me") * 2:
            method = "POST" if path.endswith("login") else "GET"
            body = {"email": "ada@example.org", "password": PASSWORD} if method == "POST" else None
            allowed = await client.request(method, path, json=body)
            assert allowed.status_code == 401
            assert '"address";q=4;w=60' in allowed.headers["RateLimit-Policy"]
        refused = await client.get("/v1/auth/me")
        assert (refused.status_code, error_of(refused)["code"]) == (429, "rate_limited")
        assert 1 <= int(refused.headers["Retry-After"]) <= 15
        assert refused.headers.get_list("RateLimit-Policy") == ['"address";q=4;w=60']


async def test_weak_hashes_are_strengthened_when_their_owners_log_in(
    start_process: ProcessStarter, database: Database, database_url: str, redis_url: str
) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
    async with database.transaction() as connection:
        ada = await users.create(connection, email="ada@example.org", password_hash=weak, role=Role.USER)
    gateway = await start_process("gateway", {"DATABASE_URL": database_url, "REDIS_URL": redis_url})
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        assert (await log_in(client, "ada@example.org")).status_code == 200
        async with database.transaction() as connection:
            stored = await users.find(connection, ada.id)
        assert stored is not None
        assert extract_parameters(stored.password_hash).time_cost > 1
        assert (await log_in(client, "ada@example.org")).status_code == 200


async def test_a_disabled_user_cannot_log_in_and_hears_nothing_else(
    start_process: ProcessStarter, database: Database, database_url: str, redis_url: str
) -> None:
    gateway = await start_process("gateway", {"DATABASE_URL": database_url, "REDIS_URL": redis_url})
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        await sign_up(client, "ada@example.org")
        async with database.transaction() as connection:
            await connection.execute(update(table).values(disabled_at=func.now()))
        disabled = await log_in(client, "ada@example.org")
        assert disabled.status_code == 401
        assert error_of(disabled) == error_of(await log_in(client, "nobody@example.org"))


async def test_no_password_and_no_token_is_in_the_log(
    start_process: ProcessStarter, database_url: str, redis_url: str
) -> None:
    gateway = await start_process(
        "gateway", {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LOG_LEVEL": "DEBUG"}
    )
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        await sign_up(client, "ada@example.org")
        token = (await log_in(client, "ada@example.org")).json()["access_token"]
        await client.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
        await client.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}x"})
    assert PASSWORD not in gateway.log_text()
    assert token not in gateway.log_text()
