"""Where and to whom a gateway shows its metrics."""

import socket

import httpx
import pytest

from gateway.app import create_routes
from gateway.draining import Draining
from gateway.metrics.declared import Metrics
from gateway.settings import read
from infra.local.program import StartFailedError
from tests.processes import ProcessStarter

TOKEN = "a token for Prometheus"


@pytest.fixture
def environment(redis_url: str, database_url: str) -> dict[str, str]:
    return {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "JWT_SECRET": "x" * 32}


async def test_with_a_token_only_who_sends_it_may_read(
    start_process: ProcessStarter, environment: dict[str, str]
) -> None:
    gateway = await start_process("gateway", {**environment, "METRICS_TOKEN": TOKEN})

    async with httpx.AsyncClient(base_url=gateway.url) as client:
        allowed = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        refused = [
            await client.get("/metrics", headers=headers)
            for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": f"Basic {TOKEN}"})
        ]

    assert allowed.status_code == 200
    assert allowed.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "deepersensor_redis_up 1.0" in allowed.text
    for answer in refused:
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "unauthenticated"
        assert "deepersensor_" not in answer.text
    assert TOKEN not in gateway.log_text()


async def test_on_a_port_of_its_own_the_api_s_port_has_none(
    start_process: ProcessStarter, environment: dict[str, str], free_port: int
) -> None:
    bind = f"127.0.0.1:{free_port}"
    gateway = await start_process("gateway", {**environment, "PROMETHEUS_BIND": bind, "METRICS_TOKEN": TOKEN})

    async with httpx.AsyncClient() as client:
        beside = await client.get(f"{gateway.url}/metrics")
        alone = await client.get(f"http://{bind}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        without_token = await client.get(f"http://{bind}/metrics")
        elsewhere = await client.get(f"http://{bind}/v1/models")

    assert [beside.status_code, alone.status_code] == [404, 200]
    assert [without_token.status_code, elsewhere.status_code] == [401, 404]
    assert 'route="/health"' in alone.text
    assert alone.headers["x-content-type-options"] == "nosniff"


async def test_an_address_that_is_taken_stops_the_start_and_is_named(
    start_process: ProcessStarter, environment: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartFailedError) as caught:
            await start_process("gateway", {**environment, "PROMETHEUS_BIND": bind})

    assert "ended with code 2: PROMETHEUS_BIND is wrong: cannot listen there" in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "served"),
    [({}, True), ({"METRICS_ENABLED": "false"}, False), ({"PROMETHEUS_BIND": "127.0.0.1:1"}, False)],
    ids=["by default", "switched off", "on a port of its own"],
)
def test_the_path_is_there_when_it_should_be(variables: dict[str, str], *, served: bool) -> None:
    app = create_routes(read(variables), Metrics(), Draining())

    assert ("/metrics" in {route.path for route in app.routes}) == served


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("127.0.0.1:9090", ("127.0.0.1", 9090)),
        ("[::1]:9090", ("::1", 9090)),
        ("metrics.internal:80", ("metrics.internal", 80)),
        ("", None),
    ],
)
def test_the_address_is_read_from_the_setting(bind: str, address: tuple[str, int] | None) -> None:
    assert read({"PROMETHEUS_BIND": bind}).metrics.own_address == address
