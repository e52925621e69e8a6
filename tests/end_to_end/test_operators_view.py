"""What operators, probes and orchestrators see."""

import json
from typing import Any

import httpx

from shared.ids import is_id
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer
from tests.waiting import wait_until


async def test_health_says_that_the_process_serves(stack: Stack) -> None:
    for gateway in stack.gateways:
        async with httpx.AsyncClient(base_url=gateway.url) as http:
            response = await http.get("/health")
        assert response.status_code == 200
        assert response.json()["status"] == "ok"


async def test_the_worker_that_a_client_is_told_is_found_in_the_log(stack: Stack) -> None:
    async with (await stack.client()).stream(stack.model(Answer(("text",)))) as stream:
        started = await stream.until("started")
        await stream.rest()

    lines = [line for line in map(json.loads, stack.log_lines()) if line["event"] == "worker_started"]
    (line,) = (line for line in lines if line["worker_name"] == started.json["worker"])
    assert is_id(line["worker"])
    assert line["worker_name"].endswith(f"-{line['pid']}")


async def test_readiness_has_everything_that_is_needed(stack: Stack) -> None:
    readiness = await ready(stack)

    assert readiness["status"] == "ok"
    for server in ("redis", "postgresql"):
        assert readiness[server]["ok"] is True
        assert readiness[server]["latency_ms"] > 0


async def test_readiness_counts_live_workers(stack: Stack) -> None:
    assert (await ready(stack))["live_workers"] == 1

    worker = await stack.add_worker()
    assert (await ready(stack))["live_workers"] == 2
    await worker.kill()

    async def is_alone() -> bool:
        return (await ready(stack))["live_workers"] == 1

    await wait_until(is_alone, description="the lease of the killed worker has ended")


async def ready(stack: Stack) -> dict[str, Any]:
    """Ask whether requests should come here."""
    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        response = await http.get("/health/ready")
    assert response.status_code == 200
    return response.json()
