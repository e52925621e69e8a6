import asyncio
import contextlib
import socket
from pathlib import Path

import httpx
import pytest

from tests.commands import run_module
from tests.processes import ProcessStarter


@pytest.mark.parametrize(
    ("environment", "exit_code", "line"),
    [
        pytest.param({"APP_ENV": "production"}, 2, "JWT_SECRET is not set", id="a wrong setting"),
        pytest.param({"APP_HOST": "nonsense.invalid"}, 2, "Example: APP_HOST=127.0.0.1", id="a host that is none"),
        pytest.param({"APP_HOST": "999.1.1.1"}, 2, "Example: APP_HOST=127.0.0.1", id="an address that is none"),
        pytest.param(
            {"DATABASE_URL": "postgresql://nobody:canary@127.0.0.1:1/nothing"},
            1,
            "Does DATABASE_URL name a PostgreSQL that runs?",
            id="no PostgreSQL to migrate",
        ),
    ],
)
async def test_a_start_that_cannot_be_says_why_in_one_line(
    environment: dict[str, str], exit_code: int, line: str, tmp_path: Path
) -> None:
    finished = await run_module("gateway", environment, directory=tmp_path)
    assert finished.exit_code == exit_code
    assert line in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert "canary" not in finished.stderr


async def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        finished = await run_module("gateway", {"APP_PORT": str(port)}, directory=tmp_path)
    assert (finished.exit_code, len(finished.stderr.splitlines())) == (2, 1)
    assert finished.stderr.startswith(f"APP_PORT={port}: cannot listen there on 127.0.0.1, address already in use.")
    assert "Example: APP_PORT=" in finished.stderr


async def test_several_gateways_start_at_once_on_an_empty_database(
    start_process: ProcessStarter, database_url: str, redis_url: str
) -> None:
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    gateways = await asyncio.gather(*(start_process("gateway", environment) for _ in range(3)))
    async with httpx.AsyncClient() as client:
        for gateway in gateways:
            assert (await client.get(f"{gateway.url}/health/ready")).json()["postgresql"]["ok"]


async def test_a_gateway_serves_without_postgresql_and_refuses_what_needs_it(
    start_process: ProcessStarter, redis_url: str, free_port: int
) -> None:
    """In production the schema is another step's business; an outage must not keep new gateways from coming up."""
    gateway = await start_process(
        "gateway",
        {
            "REDIS_URL": redis_url,
            "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port}/nothing",
            "MIGRATE_ON_START": "false",
        },
    )
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert ready.json()["postgresql"] == {"ok": False, "latency_ms": None}
        refused = await client.post(
            "/v1/auth/login", json={"email": "ada@example.org", "password": "a quiet harbour at dawn"}
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1


async def test_sigterm_ends_it_with_code_0(start_process: ProcessStarter, database_url: str, redis_url: str) -> None:
    gateway = await start_process("gateway", {"DATABASE_URL": database_url, "REDIS_URL": redis_url})
    await gateway.stop(expected_exit_code=0)
