"""The demo model speaks Ollama's wire and never passes for a model."""

import asyncio
import math
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
from aiohttp import web

from infra.local.demo_model import DemoModel, embedding_of, introduce_and_repeat
from infra.local.ollama_wire import GeneratingCall

CLOSING_FIELDS = [
    "done_reason",
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
]


@asynccontextmanager
async def serving(demo: DemoModel) -> AsyncGenerator[httpx.AsyncClient]:
    runner = web.AppRunner(demo.application(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{runner.addresses[0][1]}", trust_env=False, timeout=30
        ) as client:
            yield client
    finally:
        await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serving(DemoModel(tokens_per_second=math.inf)) as running:
        yield running


def question(text: str, **more: object) -> dict[str, object]:
    return {"model": "demo", "messages": [{"role": "user", "content": text}], **more}


def lines_of(response: httpx.Response) -> list[dict[str, object]]:
    assert response.content.endswith(b"\n")
    return [msgspec.json.decode(line) for line in response.content.rstrip(b"\n").split(b"\n")]


def text_of(lines: list[dict[str, object]]) -> str:
    return "".join(msgspec.convert(line["message"], dict[str, str])["content"] for line in lines)


async def test_a_chat_streams_the_question_back(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/chat", json=question("one  two\nthree"))
    assert response.headers["content-type"] == "application/x-ndjson"
    *tokens, last = lines_of(response)
    assert text_of(tokens).startswith("This is the demo model")
    assert text_of(tokens).endswith("You said: one  two\nthree")
    assert {tuple(line) for line in tokens} == {("model", "created_at", "message", "done")}
    assert {line["done"] for line in tokens} == {False}
    assert list(last) == ["model", "created_at", "message", "done", *CLOSING_FIELDS]
    assert (last["model"], last["done"], last["done_reason"]) == ("demo", True, "stop")
    assert (last["prompt_eval_count"], last["eval_count"]) == (3, len(tokens))
    assert last["message"] == {"role": "assistant", "content": ""}


async def test_the_last_thing_the_user_said_is_repeated(client: httpx.AsyncClient) -> None:
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "answer"},
        {"role": "user", "content": "second"},
        {"role": "tool", "content": "result"},
    ]
    response = await client.post("/api/chat", json={"model": "demo", "messages": messages, "stream": False})
    assert response.json()["message"]["content"].endswith("You said: second")


async def test_an_unstreamed_answer_says_the_same(client: httpx.AsyncClient) -> None:
    streamed = lines_of(await client.post("/api/chat", json=question("hello there")))
    whole = (await client.post("/api/chat", json=question("hello there", stream=False))).json()
    assert whole["message"]["content"] == text_of(streamed)
    assert whole["done"]
    assert whole["eval_count"] == len(streamed) - 1


async def test_generate_has_its_own_fields(client: httpx.AsyncClient) -> None:
    *tokens, last = lines_of(await client.post("/api/generate", json={"model": "demo", "prompt": "hello there"}))
    assert {tuple(line) for line in tokens} == {("model", "created_at", "response", "done")}
    assert "".join(str(line["response"]) for line in tokens).endswith("You said: hello there")
    assert list(last) == ["model", "created_at", "response", "done", *CLOSING_FIELDS]


async def test_num_predict_bounds_the_answer(client: httpx.AsyncClient) -> None:
    *tokens, last = lines_of(await client.post("/api/chat", json=question("hi", options={"num_predict": 4})))
    assert text_of(tokens) == "This is the demo"
    assert (last["done_reason"], last["eval_count"]) == ("length", 4)


async def test_text_is_escaped_as_go_does(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/chat", json=question("<b>&\u2028\u2029\u0085\x00é", stream=False))
    assert rb"\u003cb\u003e\u0026\u2028\u2029" + "\u0085".encode() + rb"\u0000" + "é".encode() in response.content


async def test_a_call_without_a_question_loads_or_unloads(client: httpx.AsyncClient) -> None:
    async def loaded() -> list[str]:
        return [model["name"] for model in (await client.get("/api/ps")).json()["models"]]

    assert await loaded() == []
    assert (await client.post("/api/chat", json={"model": "demo"})).json()["done_reason"] == "load"
    assert await loaded() == ["demo:latest"]
    unloaded = await client.post("/api/generate", json={"model": "demo", "keep_alive": 0})
    assert unloaded.json()["done_reason"] == "unload"
    assert await loaded() == []


async def test_it_is_labelled_wherever_it_is_described(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).text == "Ollama is running"
    assert (await client.get("/api/version")).json() == {"version": "0.0.0-demo"}
    [tag] = (await client.get("/api/tags")).json()["models"]
    assert (tag["name"], tag["details"]["family"]) == ("demo:latest", "demo")
    described = (await client.post("/api/show", json={"model": "demo:latest"})).json()
    assert described["details"] == tag["details"]
    assert described["capabilities"] == ["completion", "embedding"]


async def test_the_same_text_has_the_same_embedding(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/embed", json={"model": "demo", "input": ["a", "b", "a"], "dimensions": 8})
    first, second, third = response.json()["embeddings"]
    assert first == third != second
    assert math.hypot(*first) == pytest.approx(1)
    assert len(first) == 8
    assert (await client.post("/api/embed", json={"model": "demo", "input": "a"})).json()["embeddings"] == [
        embedding_of("a")
    ]


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        pytest.param("chat", b'{"model":"x","messages":[]}', 404, "model 'x' not found", id="an unknown model"),
        pytest.param("generate", b'{"model":"x:1","prompt":"a"}', 404, "model 'x:1' not found", id="to generate"),
        pytest.param("embed", b'{"model":"x","input":"a"}', 404, "model 'x' not found", id="to embed"),
        pytest.param("show", b'{"name":"x"}', 404, "model 'x' not found", id="to show"),
        pytest.param("chat", b'{"messages":[]}', 400, "model is required", id="no model"),
        pytest.param("show", b"{}", 400, "model is required", id="no model to show"),
        pytest.param("chat", b"", 400, "missing request body", id="no body"),
        pytest.param("chat", b'{"model":', 400, "truncated", id="half a body"),
        pytest.param("chat", b'{"model":"\xff"}', 400, "utf-8", id="no Unicode"),
        pytest.param("chat", b'{"model":5}', 400, "Expected `str`", id="a wrong type"),
        pytest.param(
            "chat", b'{"model":"demo","think":true}', 400, '"demo" does not support thinking', id="a wish to think"
        ),
        pytest.param("chat", b'{"model":"demo","tools":[{}]}', 400, "demo:latest does not support tools", id="tools"),
    ],
)
async def test_errors_are_told_as_ollama_tells_them(
    client: httpx.AsyncClient, path: str, body: bytes, status: int, error: str
) -> None:
    response = await client.post(f"/api/{path}", content=body)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert error in response.json()["error"]


async def test_no_token_comes_before_its_time() -> None:
    async with serving(DemoModel(tokens_per_second=200)) as client:
        answer = (await client.post("/api/generate", json={"model": "demo", "prompt": "hi", "stream": False})).json()
    assert answer["eval_duration"] >= (answer["eval_count"] - 1) * 1_000_000_000 / 200


async def test_another_answer_can_be_put_in() -> None:
    async with serving(DemoModel(["other"], answer=lambda question: [question.upper(), "!"])) as client:
        body = {"model": "other", "prompt": "hi", "stream": False}
        assert (await client.post("/api/generate", json=body)).json()["response"] == "HI!"


async def test_an_answer_ends_with_its_client() -> None:
    ended = asyncio.Event()

    class Watched(DemoModel):
        async def respond(self, request: web.Request, call: GeneratingCall) -> web.StreamResponse:
            try:
                return await super().respond(request, call)
            except asyncio.CancelledError:
                ended.set()
                raise

    async with serving(Watched(tokens_per_second=0.001)) as client:
        async with client.stream("POST", "/api/chat", json=question("hi")) as response:
            await anext(response.aiter_raw())
            assert not ended.is_set()
        async with asyncio.timeout(10):
            await ended.wait()


@pytest.mark.parametrize("text", ["", " ", "a", " a  b\n", "\u2028x\x00 y", "x" * 300_000])
def test_tokens_together_are_the_answer(text: str) -> None:
    assert "".join(introduce_and_repeat(text)).endswith(f"You said: {text}")


@pytest.fixture
def process(pytestconfig: pytest.Config) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "infra.local.demo_model", "--port", "0", "--model", "one", "--model", "two:7b"]
    with subprocess.Popen(command, cwd=pytestconfig.rootpath, stdout=subprocess.PIPE, text=True) as running:
        yield running
        running.kill()


def test_it_runs_as_a_process_of_its_own(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    url = process.stdout.readline().rpartition(" ")[2].strip()
    tags = httpx.get(f"{url}/api/tags", trust_env=False).json()
    assert [tag["name"] for tag in tags["models"]] == ["one:latest", "two:7b"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("environment", "arguments", "sentence"),
    [
        pytest.param({"APP_ENV": "production"}, [], "does not run with APP_ENV=production", id="in production"),
        pytest.param({"APP_ENV": "wrong"}, [], "APP_ENV is wrong", id="with a wrong setting"),
        pytest.param({}, ["--port", "70000"], "port", id="on a port that cannot be"),
    ],
)
def test_it_refuses_to_run(
    pytestconfig: pytest.Config, environment: dict[str, str], arguments: list[str], sentence: str
) -> None:
    command = [sys.executable, "-m", "infra.local.demo_model", *arguments]
    ended = subprocess.run(
        command, cwd=pytestconfig.rootpath, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("begun", ["This is the dem", "This is the demo model: ", "Something else"])
async def test_an_answer_that_has_begun_goes_on_where_it_stops(client: httpx.AsyncClient, begun: str) -> None:
    whole = text_of(lines_of(await client.post("/api/chat", json=question("one"))))
    call = question("one")
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": begun}]

    *tokens, last = lines_of(await client.post("/api/chat", json=call | {"messages": messages}))

    assert text_of(tokens) == whole.removeprefix(begun)
    assert last["eval_count"] == len(tokens)


@pytest.mark.parametrize(("goes_on", "end"), [(True, "Once"), (False, "<assistant>")])
async def test_what_the_model_would_be_given_is_shown_and_nothing_is_said(*, goes_on: bool, end: str) -> None:
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "Once"}]
    async with serving(DemoModel(goes_on=goes_on)) as client:
        call = {"model": "demo", "messages": messages, "_debug_render_only": True}
        shown = (await client.post("/api/chat", json=call)).json()

    assert shown["_debug_info"]["rendered_template"].endswith(end)
    assert "message" not in shown
