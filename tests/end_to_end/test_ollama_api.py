"""`/ollama/api/chat` and `/ollama/api/generate` answer as Ollama does, for what Ollama is sent as it was asked."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.end_to_end.client import PROMPT, Client, ask
from tests.end_to_end.stack import Stack
from tests.images import in_base64, png
from tests.ollama_double import Answer, Cut, Done, Fail, Hang, Thinking, ToolCalls

NDJSON = "application/x-ndjson"
TEXT = Answer(("Once", " upon ", "ü\u0085\u2028 a time"))
SAID = "Once upon ü\u0085\u2028 a time"
CALLS = [{"function": {"name": "wetter", "arguments": {"z": "Zürich", "a": 0}}}]
TOOLS = [{"type": "function", "function": {"name": "wetter", "parameters": {"type": "object", "properties": {}}}}]
PATHS = {"chat": {"messages": ask(PROMPT)}, "generate": {"prompt": PROMPT}}
NOTHING = {"chat": {"messages": []}, "generate": {"prompt": ""}}
COUNTS = {"prompt_eval_count", "eval_count"}
DURATIONS = {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}


async def post(client: Client, path: str, model: str, **fields: object) -> httpx.Response:
    """Ask what is asked by default of this path."""
    return await client.http.post(f"/ollama/api/{path}", json={"model": model, **PATHS[path], **fields})


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert (response.status_code, response.headers["Content-Type"]) == (200, NDJSON), response.text
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


def object_of(response: httpx.Response) -> dict[str, Any]:
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json"), response.text
    return response.json()


def error_of(response: httpx.Response) -> str:
    assert response.headers["Content-Type"] == "application/json", response.text
    body = response.json()
    assert body.keys() == {"error"}
    return body["error"]


def message_of(line: dict[str, Any]) -> dict[str, Any]:
    """Return what a line says, wherever its path has it."""
    return line["message"] if "message" in line else {"content": line["response"], **line}


def said(lines: list[dict[str, Any]], field: str = "content") -> str:
    return "".join(message_of(line).get(field, "") for line in lines)


async def loaded_models(stack: Stack) -> set[str]:
    async with httpx.AsyncClient(base_url=stack.double.url) as http:
        return {model["name"] for model in (await http.get("/api/ps")).json()["models"]}


@pytest.mark.parametrize("path", PATHS)
async def test_an_answer_is_streamed_line_by_line(stack: Stack, path: str) -> None:
    model = stack.model(TEXT)

    response = await post(await stack.client(), path, model)

    *pieces, last = lines = lines_of(response)
    assert said(lines) == SAID
    assert [line["done"] for line in lines] == [False] * len(pieces) + [True]
    assert {line["model"] for line in lines} == {model}
    assert all(line["created_at"].endswith("Z") for line in lines)
    assert last["done_reason"] == "stop"
    assert last.keys() >= COUNTS | DURATIONS
    assert not any(line.keys() & (COUNTS | DURATIONS | {"done_reason"}) for line in pieces)
    assert last["eval_count"] == 3
    assert last["total_duration"] > 0
    assert response.headers["X-Job-Id"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_whole_answer_is_one_object(stack: Stack, path: str) -> None:
    model = stack.model(TEXT)

    answer = object_of(await post(await stack.client(), path, model, stream=False))

    assert message_of(answer)["content"] == SAID
    assert answer.keys() >= {"model", "created_at", "done", "done_reason"} | COUNTS | DURATIONS
    assert (answer["model"], answer["done"], answer["eval_count"]) == (model, True, 3)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_thoughts_and_calls_come_beside_the_text(stack: Stack, path: str, *, stream: bool) -> None:
    model = stack.model(Answer((Thinking("Hm."), Thinking(" Yes."), ToolCalls(CALLS), "Well.")))

    response = await post(await stack.client(), path, model, stream=stream, think=True)

    lines = lines_of(response) if stream else [object_of(response)]
    assert (said(lines), said(lines, "thinking")) == ("Well.", "Hm. Yes.")
    calls = [message_of(line)["tool_calls"] for line in lines if "tool_calls" in message_of(line)]
    assert calls == [CALLS]
    assert list(calls[0][0]["function"]["arguments"]) == ["z", "a"]


async def test_a_chat_reaches_ollama_as_it_was_asked(stack: Stack) -> None:
    model = stack.model(TEXT)
    schema = {"type": "object", "properties": {"z": {"type": "integer"}, "a": {"type": "string"}}}
    asked: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "a\u2028b\u0085", "images": [in_base64(png())]},
            {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": CALLS},
            {"role": "tool", "content": "12 °C", "tool_name": "wetter"},
        ],
        "options": {"temperature": 0.0, "seed": 0, "num_predict": 0},
        "format": schema,
        "tools": TOOLS,
        "think": False,
    }

    response = await post(await stack.client(), "chat", model, **asked, keep_alive="10m", unknown={"a": [None]})

    assert response.status_code == 200, response.text
    (generation,) = stack.generations(model)
    assert generation.path == "/api/chat"
    assert generation.request == {"model": model, "stream": True, **asked}
    assert list(generation.request["format"]["properties"]) == ["z", "a"]


async def test_a_prompt_reaches_ollama_as_it_was_asked(stack: Stack) -> None:
    model = stack.model(TEXT)
    asked: dict[str, Any] = {
        "prompt": "def f(",
        "suffix": "return x",
        "system": "Be kind.",
        "template": "{{ .Prompt }}",
        "images": [in_base64(png())],
        "options": {"temperature": 0.0, "stop": ["\n"]},
        "format": "json",
        "think": "high",
    }

    response = await post(
        await stack.client(), "generate", model, **{**asked, "options": {**asked["options"], "num_gpu": 9}}
    )

    assert response.status_code == 200, response.text
    (generation,) = stack.generations(model)
    assert generation.path == "/api/generate"
    assert generation.request == {"model": model, "stream": True, **asked}


async def test_a_raw_prompt_reaches_ollama_as_it_is(stack: Stack) -> None:
    model = stack.model(TEXT)

    await post(await stack.client(), "generate", model, raw=True)

    (generation,) = stack.generations(model)
    assert generation.request == {"model": model, "stream": True, "prompt": PROMPT, "raw": True}


@pytest.mark.parametrize("path", PATHS)
async def test_a_model_may_be_named_without_its_tag(stack: Stack, path: str) -> None:
    """The answer names it as the client did, as Ollama's does."""
    stack.double.script("ada:latest", TEXT)

    answer = object_of(await post(await stack.client(), path, "ada", stream=False))

    assert answer["model"] == "ada"
    (generation,) = stack.generations("ada:latest")
    assert generation.request["model"] == "ada:latest"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", None]
)
async def test_the_content_type_is_ignored(stack: Stack, content_type: str | None) -> None:
    """Ollama's documentation sends JSON with `curl -d`, which calls it a form."""
    body = json.dumps({"model": stack.model(TEXT), "messages": ask("Hello?")}).encode()
    headers = {"Content-Type": content_type} if content_type else {}

    response = await (await stack.client()).http.post("/ollama/api/chat", content=body, headers=headers)

    assert said(lines_of(response)) == SAID


async def test_what_other_servers_understand_is_understood(stack: Stack) -> None:
    """Half of an emoji, which who cuts text leaves behind, and a whole number with a point."""
    model = stack.model(TEXT)
    body = rb'{"model":"%b","messages":[{"role":"user","content":"a\ud83d"}],"options":{"num_ctx":4096.0}}'

    response = await (await stack.client()).http.post("/ollama/api/chat", content=body % model.encode())

    assert response.status_code == 200, response.text
    (generation,) = stack.generations(model)
    assert generation.request["messages"] == ask("a\ufffd")
    assert generation.request["options"] == {"num_ctx": 4096}


async def test_an_api_key_is_a_bearer_token(stack: Stack) -> None:
    program = await stack.program(await stack.client())

    assert said(lines_of(await post(program, "chat", stack.model(TEXT)))) == SAID


@pytest.mark.parametrize("path", NOTHING)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_model_of_which_nothing_is_asked_is_loaded(stack: Stack, path: str, *, stream: bool) -> None:
    double = await stack.add_double(type(stack.double)(["cold:latest"]))
    await stack.add_worker(double)
    await stack.until_served("cold:latest")

    response = await post(await stack.client(), path, "cold", stream=stream, **NOTHING[path])

    (line,) = lines_of(response) if stream else [object_of(response)]
    assert (line["model"], line["done"], line["done_reason"]) == ("cold", True, "load")
    assert message_of(line)["content"] == ""
    assert (line["prompt_eval_count"], line["eval_count"]) == (0, 0)
    async with httpx.AsyncClient(base_url=double.url) as http:
        assert [model["name"] for model in (await http.get("/api/ps")).json()["models"]] == ["cold:latest"]


@pytest.mark.parametrize("path", NOTHING)
async def test_a_tenant_is_told_that_a_model_is_unloaded_and_it_stays(stack: Stack, path: str) -> None:
    model, client = stack.model(TEXT), await stack.client()
    await post(client, path, model)

    answer = object_of(await post(client, path, model, keep_alive=0, **NOTHING[path]))

    assert (answer["model"], answer["done"], answer["done_reason"]) == (model, True, "unload")
    assert message_of(answer)["content"] == ""
    assert model in await loaded_models(stack)


@pytest.mark.parametrize("path", NOTHING)
async def test_an_admin_unloads_a_model(stack: Stack, path: str) -> None:
    model, admin = stack.model(TEXT), await stack.newcomer()
    await stack.execute(f"UPDATE users SET role = 'admin' WHERE id = '{admin.account.id}'")
    await post(admin, path, model)
    assert model in await loaded_models(stack)

    answer = object_of(await post(admin, path, model, stream=False, keep_alive="0s", **NOTHING[path]))

    assert (answer["model"], answer["done"], answer["done_reason"]) == (model, True, "unload")
    assert model not in await loaded_models(stack)


async def test_the_head_comes_when_the_model_takes_long(stack: Stack) -> None:
    """A line without text is all that NDJSON has to say that it goes on."""
    gate = stack.gate()
    model, client = stack.model(Answer((Hang(gate), "text"))), await stack.client()

    async with client.http.stream("POST", "/ollama/api/chat", json={"model": model, **PATHS["chat"]}) as response:
        lines: AsyncIterator[str] = response.aiter_lines()
        first = json.loads(await anext(lines))
        stack.double.release(gate)
        rest = [json.loads(line) async for line in lines]

    assert (first["message"], first["done"]) == ({"role": "assistant", "content": ""}, False)
    assert said(rest) == "text"
    assert rest[-1]["done"]


async def test_the_end_of_num_predict_is_told(stack: Stack) -> None:
    model = stack.model(Answer(("text", Done("length"))))

    assert lines_of(await post(await stack.client(), "chat", model))[-1]["done_reason"] == "length"


async def test_the_same_idempotency_key_gives_the_same_answer(stack: Stack) -> None:
    model, client = stack.model(TEXT, Answer(("Another",))), await stack.client()
    client_key = {"Idempotency-Key": stack.gate()}
    body = {"model": model, **PATHS["chat"]}

    first = await client.http.post("/ollama/api/chat", json=body, headers=client_key)
    again = await client.http.post("/ollama/api/chat", json=body, headers=client_key)

    assert said(lines_of(first)) == said(lines_of(again)) == SAID
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["X-Job-Id"] == again.headers["X-Job-Id"]
    assert len(stack.generations(model)) == 1


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("path", PATHS)
async def test_a_failure_before_the_answer_has_its_status(stack: Stack, path: str, *, stream: bool) -> None:
    model = stack.model(Answer((Fail("out of memory", status=500),)))

    response = await post(await stack.client(), path, model, stream=stream)

    assert response.status_code == 502
    assert "out of memory" in error_of(response)


async def test_what_ollama_refuses_is_400_with_its_reason(stack: Stack) -> None:
    model = stack.model(Answer((Fail("this model cannot do that", status=400),)))

    response = await post(await stack.client(), "chat", model)

    assert response.status_code == 400
    assert "this model cannot do that" in error_of(response)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("end", [Fail("out of memory"), Cut()], ids=["an error", "a cut"])
async def test_a_failure_in_the_middle_is_a_last_line(stack: Stack, path: str, end: Fail | Cut) -> None:
    model = stack.model(Answer(("Once", " upon", end)))

    *pieces, last = lines_of(await post(await stack.client(), path, model))

    assert said(pieces) == "Once upon"
    assert not any(line["done"] for line in pieces)
    assert last.keys() == {"error"}
    assert last["error"]


async def test_a_whole_answer_that_fails_in_the_middle_is_an_error(stack: Stack) -> None:
    model = stack.model(Answer(("Once", Fail("out of memory"))))

    response = await post(await stack.client(), "chat", model, stream=False)

    assert response.status_code == 502
    assert "out of memory" in error_of(response)


MALFORMED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", ""),
    "half of an object": (b'{"model":', ""),
    "a list": (b"[]", ""),
    "no model": (b'{"messages": [], "prompt": ""}', "model"),
    "a model of no name": (b'{"model": ""}', "model"),
    "an option of the wrong type": (b'{"model": "ada", "options": {"seed": "x"}}', "options.seed"),
    "a role that is a number": (b'{"model": "ada", "messages": [{"role": 1}]}', "messages[0].role"),
    "a prompt that is a number": (b'{"model": "ada", "prompt": 1}', "prompt"),
    "a name twice": (b'{"model": "ada", "model": "bell"}', ""),
}


@pytest.mark.parametrize(("body", "field"), MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_wrong_is_400_and_names_the_field(stack: Stack, body: bytes, field: str) -> None:
    path = "generate" if field == "prompt" else "chat"

    response = await (await stack.client()).http.post(f"/ollama/api/{path}", content=body)

    assert response.status_code == 400
    assert field in error_of(response)


@pytest.mark.parametrize("path", PATHS)
async def test_a_model_that_nobody_has_is_404_with_names_that_are_near(stack: Stack, path: str) -> None:
    response = await post(await stack.client(), path, "adda")

    assert response.status_code == 404
    assert "Model 'adda' not found" in error_of(response)
    assert "ada:latest" in error_of(response)


async def test_a_key_that_is_not_for_the_model_is_403(stack: Stack) -> None:
    program = await stack.program(await stack.client(), models=["bell:latest"])

    response = await post(program, "chat", "ada")

    assert response.status_code == 403
    assert error_of(response)


@pytest.mark.parametrize("path", ["chat", "generate", "pull", "blobs/sha256:0"])
@pytest.mark.parametrize("authorization", [None, "Bearer nonsense"], ids=["no", "a wrong"])
async def test_without_a_good_credential_it_is_401(stack: Stack, path: str, authorization: str | None) -> None:
    url = (await stack.client()).http.base_url
    headers = {"Authorization": authorization} if authorization else {}
    async with httpx.AsyncClient(base_url=url, headers=headers) as http:
        response = await http.post(f"/ollama/api/{path}", json={"model": "ada"})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert error_of(response)


@pytest.mark.parametrize("fields", [{}, {"messages": [], "keep_alive": 0}], ids=["asking", "unloading"])
async def test_too_many_requests_are_429_with_a_time_to_wait(stack: Stack, fields: dict[str, object]) -> None:
    gateway = await stack.gateway(rate_limit_enabled=True, rate_limit_requests_per_minute=1, rate_limit_burst=1)
    client = await stack.newcomer(gateway=gateway)
    await post(client, "chat", stack.model(TEXT), **fields)

    response = await post(client, "chat", stack.model(TEXT), **fields)

    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    assert error_of(response)


REFUSED = [
    ("POST", "pull", {"model": "x"}),
    ("POST", "push", {"name": "x"}),
    ("POST", "create", {"model": "x", "from": "y"}),
    ("POST", "copy", {"source": "x", "destination": "y"}),
    ("DELETE", "delete", {"model": "x"}),
    ("POST", "blobs/sha256:29fdb92e57cf0827ded04ae6461b5931d01fa595843f55d36f5b275a52087dd2", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), REFUSED, ids=lambda value: str(value)[:12])
async def test_who_wants_to_change_models_is_refused(
    stack: Stack, method: str, path: str, body: dict[str, str]
) -> None:
    response = await (await stack.client()).http.request(method, f"/ollama/api/{path}", json=body)

    assert response.status_code == 403
    assert "operators" in error_of(response)


async def test_who_looks_for_a_blob_is_refused(stack: Stack) -> None:
    response = await (await stack.client()).http.head("/ollama/api/blobs/sha256:0")

    assert (response.status_code, response.content) == (403, b"")


@pytest.mark.parametrize("path", ["/ollama", "/ollama/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_ollama_is_running(stack: Stack, method: str, path: str) -> None:
    url = (await stack.client()).http.base_url
    async with httpx.AsyncClient(base_url=url) as http:
        response = await http.request(method, path)

    assert response.status_code == 200
    assert response.text == ("Ollama is running" if method == "GET" else "")


@pytest.mark.parametrize(
    "path", ["/ollama//", "//ollama", "/%6fllama", "/ollama/x", "/ollama/api", "/ollama/api/chat/"]
)
async def test_a_path_that_is_none_is_404_in_ollamas_form(stack: Stack, path: str) -> None:
    client = await stack.client()
    request = client.http.build_request("GET" if "chat" not in path else "POST", "/")
    request.url = request.url.copy_with(raw_path=path.encode())

    response = await client.http.send(request)

    assert response.status_code == 404
    assert response.json()["error"]
    if path.startswith("/ollama/"):
        assert error_of(response)


async def test_another_method_is_405_in_ollamas_form(stack: Stack) -> None:
    response = await (await stack.client()).http.get("/ollama/api/chat")

    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert error_of(response)
