"""What a gateway and its worker log and count of requests, watched from outside while they serve."""

import json
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.ids import new_id
from shared.redis_client import connect
from tests.databases import Databases
from tests.ollama_double import Answer, Hang, OllamaDouble
from tests.processes import ProcessStarter, ServerProcess
from tests.waiting import wait_until

MODEL = "canary:1b"
CANARY = "kanarienvogel"  # stands in every prompt, answer and password


class Stack(NamedTuple):
    """A gateway and a worker that log all they can."""

    gateway: ServerProcess
    worker: ServerProcess
    ollama: OllamaDouble
    client: httpx.AsyncClient
    user_id: str

    async def figure(self, name: str, **labels: str) -> float:
        text = (await self.client.get("/metrics")).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == f"deepersensor_{name}" and sample.labels == labels:
                    return sample.value
        return 0


def lines(process: ServerProcess, request_id: str) -> list[dict[str, Any]]:
    parsed = [json.loads(line) for line in process.log_lines()]
    return [line for line in parsed if line.get("request_id") == request_id]


async def request_finished(gateway: ServerProcess, request_id: str) -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        return next((line for line in lines(gateway, request_id) if line["event"] == "request_finished"), None)

    found = await wait_until(find, description=f"the end of request {request_id} is logged")
    assert found is not None
    return found


@pytest.fixture(scope="module")
async def stack(
    databases: Databases, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Stack]:
    async with (
        databases.fresh() as database_url,
        OllamaDouble() as ollama,
        ProcessStarter(tmp_path_factory.mktemp("stack")) as start,
    ):
        async with connect(redis_server, role="test") as redis:
            await redis.flushall()  # whoever came before may have left a worker that was killed
        ollama.script(MODEL, Answer((CANARY, " sings")))
        environment = {
            "REDIS_URL": redis_server,
            "DATABASE_URL": database_url,
            "OLLAMA_BASE_URL": ollama.url,
            "JWT_SECRET": "x" * 32,
            "LOG_LEVEL": "DEBUG",
            "RATE_LIMIT_ENABLED": "false",
            "DISCONNECT_GRACE_SECS": "0",
        }
        gateway = await start("gateway", environment)
        worker = await start("worker", environment)
        async with httpx.AsyncClient(base_url=gateway.url) as client:
            credentials = {"email": "ada@example.org", "password": f"{CANARY} as password"}
            user = (await client.post("/v1/auth/signup", json=credentials)).json()
            token = (await client.post("/v1/auth/login", json=credentials)).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"

            async def is_served() -> bool:
                return MODEL in (await client.get("/v1/models")).json()

            await wait_until(is_served, description="the worker has announced the model")
            yield Stack(gateway, worker, ollama, client, user["id"])


def chat(**fields: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": f"{CANARY}?"}], **fields}


async def test_a_stream_leaves_one_line_at_its_end(stack: Stack) -> None:
    request_id = new_id()

    answer = await stack.client.post("/v1/chat/stream", json=chat(), headers={"X-Request-Id": request_id})
    line = await request_finished(stack.gateway, request_id)

    assert line["duration_ms"] > 0
    assert {name: line[name] for name in ("method", "route", "status", "client_address", "user_id", "job_id")} == {
        "method": "POST",
        "route": "/v1/chat/stream",
        "status": 200,
        "client_address": "127.0.0.1",
        "user_id": stack.user_id,
        "job_id": answer.headers["X-Job-Id"],
    }
    assert "client_gone" not in line


async def test_the_worker_s_lines_carry_the_request_s_id(stack: Stack) -> None:
    request_id = new_id()

    answer = await stack.client.post("/v1/chat", json=chat(), headers={"X-Request-Id": request_id})

    assert answer.status_code == 200
    found = await wait_until(lambda: lines(stack.worker, request_id), description="the worker has logged the job")
    assert {line["job_id"] for line in found} == {answer.headers["X-Job-Id"]}


async def test_a_client_that_goes_away_is_told_from_one_that_stays(stack: Stack) -> None:
    request_id = new_id()
    stack.ollama.script(MODEL, Answer(("first", Hang())))
    try:
        async with stack.client.stream(
            "POST", "/v1/chat/stream", json=chat(), headers={"X-Request-Id": request_id}
        ) as answer:
            async for piece in answer.aiter_lines():
                if "first" in piece:
                    break
        line = await request_finished(stack.gateway, request_id)
    finally:
        stack.ollama.script(MODEL, Answer((CANARY, " sings")))

    assert line["client_gone"] is True
    assert line["status"] == 200
    assert await stack.figure("http_disconnects_total", route="/v1/chat/stream") == 1
    assert await stack.figure("jobs_total", model=MODEL, outcome="client_gone") == 1


async def test_a_reply_is_counted_and_measured(stack: Stack) -> None:
    async def figures() -> list[float]:
        return [
            await stack.figure("jobs_total", model=MODEL, outcome="completed"),
            await stack.figure("time_to_first_token_seconds_count", model=MODEL),
            await stack.figure("queue_wait_seconds_count", model=MODEL),
            await stack.figure("http_requests_total", method="POST", route="/v1/chat", status="200"),
        ]

    before = await figures()
    [*_, last] = (await stack.client.post("/v1/chat", json=chat())).json()

    assert await figures() == [count + 1 for count in before]
    assert last["usage"]["completion_tokens"] > 0
    assert await stack.figure("tokens_total", model=MODEL, kind="completion") >= last["usage"]["completion_tokens"]
    assert (
        await stack.figure("workers", state="serving") >= 1
    )  # one that another test has killed may be listed until its lease ends
    assert await stack.figure("queue_depth", model=MODEL) == 0
    assert await stack.figure("event_loop_lag_seconds_count") > 0


async def test_labels_do_not_grow_with_what_clients_send(stack: Stack) -> None:
    for path in ("/nowhere/1", "/nowhere/2"):
        await stack.client.get(path)
    for job_id in (new_id(), new_id()):
        await stack.client.delete(f"/v1/chat/{job_id}")
    await stack.client.request("PROPFIND", "/health")
    await stack.client.post("/v1/chat", json=chat(model="invented"))

    text = (await stack.client.get("/metrics")).text

    assert 'route="none"' in text
    assert 'route="/v1/chat/{job_id}"' in text
    assert 'method="other"' in text
    for invented in ("nowhere", "PROPFIND", "invented"):
        assert invented not in text


async def test_probes_that_go_well_are_logged_for_debugging_only(stack: Stack) -> None:
    request_id = new_id()

    await stack.client.get("/health", headers={"X-Request-Id": request_id})

    assert (await request_finished(stack.gateway, request_id))["level"] == "DEBUG"


async def test_no_log_has_a_prompt_an_answer_or_a_password(stack: Stack) -> None:
    """At the lowest level, after everything this module has sent; nor has a metric."""
    await stack.client.post("/v1/chat", json=chat())
    await stack.client.post("/v1/chat", json=chat(messages=[{"role": CANARY}]))

    assert "request_finished" in stack.gateway.log_text()
    assert stack.worker.log_text()
    for text in (stack.gateway.log_text(), stack.worker.log_text(), (await stack.client.get("/metrics")).text):
        assert CANARY not in text


async def test_every_line_is_an_object_with_time_level_and_event(stack: Stack) -> None:
    for process, role in ((stack.gateway, "gateway"), (stack.worker, "worker")):
        for text in process.log_lines():
            line = json.loads(text)
            assert line["role"] == role
            assert {"ts", "level", "logger", "event"} <= line.keys()
