import httpx
import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.clock import SystemClock
from tests.processes import ProcessStarter


async def test_health_names_the_build(start_process: ProcessStarter, database_url: str, redis_url: str) -> None:
    gateway = await start_process(
        "gateway", {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "APP_NAME": "harbour", "GIT_SHA": "4f2c1de"}
    )
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        health = await client.get("/health")
    assert health.json() == {"status": "ok", "name": "harbour", "git_sha": "4f2c1de"}


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_a_probe_that_wants_no_body_gets_the_rest_of_the_answer(client: httpx.AsyncClient, path: str) -> None:
    asked = await client.get(path)

    response = await client.head(path)

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Type"] == asked.headers["Content-Type"]


async def test_a_gateway_without_workers_is_degraded_until_one_lives(
    start_process: ProcessStarter, database_url: str, redis_url: str, redis: Redis
) -> None:
    gateway = await start_process("gateway", {"DATABASE_URL": database_url, "REDIS_URL": redis_url})
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        alone = (await client.get("/health/ready")).json()
        assert (alone["status"], alone["live_workers"]) == ("degraded", 0)
        assert alone["redis"]["ok"]
        assert alone["postgresql"]["latency_ms"] > 0

        now_ms = SystemClock().now_ms()
        await redis.zadd(redis_keys.WORKERS, {"alive": now_ms + 60_000, "dead": now_ms - 1})
        accompanied = (await client.get("/health/ready")).json()
        assert (accompanied["status"], accompanied["live_workers"]) == ("ok", 1)


async def test_without_redis_nobody_should_send_requests(
    start_process: ProcessStarter, database_url: str, free_port: int
) -> None:
    gateway = await start_process(
        "gateway", {"DATABASE_URL": database_url, "REDIS_URL": f"redis://127.0.0.1:{free_port}/0"}
    )
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        assert (await client.get("/health")).status_code == 200
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert int(ready.headers["Retry-After"]) >= 1
        assert (await client.head("/health/ready")).status_code == 503
        limited = await client.post("/v1/auth/login", json={})
        assert (limited.status_code, limited.json()["error"]["code"]) == (503, "store_unavailable")
