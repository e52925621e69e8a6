"""A database that does not answer any more costs a few seconds, not the service."""

import asyncio

import httpx

from tests.databases import Databases

HANG_S = 15.0  # a limit for hanging, not an expectation
ADA = {"email": "frozen@example.org", "password": "a password of twenty-nine"}


async def test_a_frozen_database_is_told_in_a_few_seconds(databases: Databases, client: httpx.AsyncClient) -> None:
    client.timeout = httpx.Timeout(HANG_S)
    assert (await client.post("/v1/auth/signup", json=ADA)).status_code == 201
    token = (await client.post("/v1/auth/login", json=ADA)).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await client.get("/v1/auth/me", headers=bearer)).status_code == 200

    async with databases.frozen():
        refused = await asyncio.gather(
            client.post("/v1/auth/login", json=ADA), client.get("/v1/auth/me", headers=bearer)
        )

    for response in refused:
        assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(response.headers["Retry-After"]) >= 1
    assert (await client.get("/v1/auth/me", headers=bearer)).status_code == 200
    assert (await client.post("/v1/auth/login", json=ADA)).status_code == 200
