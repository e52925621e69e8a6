"""OpenAI's clients get what OpenAI would send, from whatever Ollama says; here in raw HTTP."""

import json
from typing import Any

import httpx
import pytest

from shared.ids import created_ms
from tests.end_to_end.client import Client, ask
from tests.end_to_end.stack import Stack
from tests.images import in_base64, png
from tests.ollama_double import Answer, Cut, Done, End, Fail, Hang, Thinking, ToolCalls
from tests.openai_stream import OpenAIStream, read_stream

CHAT = "/openai/v1/chat/completions"
TEXT = "/openai/v1/completions"
CALLS: list[dict[str, Any]] = [
    {"function": {"index": 0, "name": "weather", "arguments": {"city": "Zürich", "days": 0, "exact": 1.5}}},
    {"id": "call_of_the_model", "function": {"index": 1, "name": "news", "arguments": {}}},
]
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("weather", "news")
]


async def complete(client: Client, model: str, *, path: str = CHAT, **fields: Any) -> httpx.Response:  # noqa: ANN401
    question = {"messages": ask("Hello?")} if path == CHAT else {"prompt": "Hello?"}
    return await client.http.post(path, json={"model": model, **question, **fields})


async def completed(client: Client, model: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    response = await complete(client, model, **fields)
    assert response.status_code == 200, response.text
    return response.json()


async def streamed(client: Client, model: str, **fields: Any) -> OpenAIStream:  # noqa: ANN401
    response = await complete(client, model, stream=True, **fields)
    assert response.status_code == 200, response.text
    return read_stream(response.content)


async def test_a_stream(stack: Stack) -> None:
    model = stack.model(Answer(("Hi", " \u2028", "there", Done("length"))))
    client = await stack.client()

    response = await complete(client, model, stream=True, stream_options={"include_usage": True})
    stream = read_stream(response.content)

    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert (stream.text, stream.finish_reason) == ("Hi \u2028there", "length")
    assert stream.usage == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
    job_id = response.headers["X-Job-Id"]
    first = stream.chunks[0]
    assert (first["id"], first["model"]) == (f"chatcmpl-{job_id.replace('-', '')}", model)
    assert first["created"] == created_ms(job_id) // 1000
    assert [comment.partition(" ")[0] for comment in stream.comments] == ["queued"]


async def test_a_whole_answer(stack: Stack) -> None:
    model = stack.model(Answer((Thinking("Hm."), "Hi", " there")))

    response = await complete(await stack.client(), model)

    job_id = response.headers["X-Job-Id"]
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {
        "id": f"chatcmpl-{job_id.replace('-', '')}",
        "object": "chat.completion",
        "created": created_ms(job_id) // 1000,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi there", "refusal": None, "reasoning": "Hm."},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
        "system_fingerprint": "fp_ollama",
    }


async def test_a_model_is_named_in_the_answer_as_it_was_asked_for(stack: Stack) -> None:
    model = stack.model(Answer(("text",)))
    short = model.removesuffix(":latest")
    client = await stack.client()

    assert (await completed(client, short))["model"] == short
    assert (await streamed(client, short)).chunks[0]["model"] == short
    assert [generation.request["model"] for generation in stack.generations(model)] == [model, model]


async def test_thoughts_and_calls_are_streamed(stack: Stack) -> None:
    model = stack.model(Answer((Thinking("Let me"), Thinking(" see."), ToolCalls(CALLS))))
    client = await stack.client()

    stream = await streamed(client, model, tools=TOOLS)
    whole = await completed(client, model, tools=TOOLS)

    assert stream.reasoning == "Let me see."
    assert stream.finish_reason == whole["choices"][0]["finish_reason"] == "tool_calls"
    assert [(call["index"], call["function"]["name"]) for call in stream.tool_calls] == [(0, "weather"), (1, "news")]
    assert stream.tool_calls[1]["id"] == "call_of_the_model"
    assert json.loads(stream.tool_calls[0]["function"]["arguments"]) == CALLS[0]["function"]["arguments"]
    assert "Zürich" in stream.tool_calls[0]["function"]["arguments"]
    message = whole["choices"][0]["message"]
    assert message["content"] is None
    assert [call["function"] for call in message["tool_calls"]] == [call["function"] for call in stream.tool_calls]


async def test_what_tools_answered_comes_back_under_their_names(stack: Stack) -> None:
    model = stack.model(Answer((ToolCalls(CALLS),)), Answer(("It rains.",)))
    client = await stack.client()
    called = (await completed(client, model, tools=TOOLS))["choices"][0]["message"]
    answers = [
        {"role": "tool", "tool_call_id": call["id"], "content": text}
        for call, text in zip(called["tool_calls"], ("rain", "none"), strict=True)
    ]

    answer = await completed(client, model, tools=TOOLS, messages=[*ask("Weather?"), called, *answers])

    assert answer["choices"][0]["message"]["content"] == "It rains."
    _, assistant, *tools = stack.generations(model)[1].request["messages"]
    assert [call["function"]["arguments"] for call in assistant["tool_calls"]] == [
        call["function"]["arguments"] for call in CALLS
    ]
    assert [(tool["tool_name"], tool["content"]) for tool in tools] == [("weather", "rain"), ("news", "none")]


async def test_ollama_gets_everything_in_its_own_terms(stack: Stack) -> None:
    model = stack.model(Answer(("text",)))
    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}}
    image = in_base64(png())

    await completed(
        await stack.client(),
        model,
        messages=[
            {"role": "developer", "content": "Be kind."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}", "detail": "low"}},
                    {"type": "text", "text": "And why?"},
                ],
            },
        ],
        temperature=0,
        seed=0,
        max_completion_tokens=7,
        stop="\n",
        reasoning_effort="none",
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}},
        user="ann",
        unknown={"of": "nobody"},
    )

    (generation,) = stack.generations(model)
    assert (generation.path, generation.request) == (
        "/api/chat",
        {
            "model": model,
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "What is this?\nAnd why?", "images": [image]},
            ],
            "stream": True,
            "options": {"temperature": 0, "seed": 0, "num_predict": 7, "stop": ["\n"]},
            "format": schema,
            "think": False,
        },
    )
    assert [*generation.request["format"]["properties"]] == ["z", "a"]


async def test_a_prompt_is_completed(stack: Stack) -> None:
    model = stack.model(Answer(("upon", " a time")))
    client = await stack.client()

    whole = await completed(client, model, path=TEXT, prompt=["Once "], suffix="The end.", max_tokens=7)
    stream = await streamed(client, model, path=TEXT, stream_options={"include_usage": True})

    assert (whole["object"], whole["choices"]) == (
        "text_completion",
        [{"text": "upon a time", "index": 0, "logprobs": None, "finish_reason": "stop"}],
    )
    assert (stream.text, stream.finish_reason, stream.usage) == ("upon a time", "stop", whole["usage"])
    assert stream.chunks[0]["object"] == "text_completion"
    assert stack.generations(model)[0].path == "/api/generate"
    assert stack.generations(model)[0].request == {
        "model": model,
        "prompt": "Once ",
        "suffix": "The end.",
        "stream": True,
        "options": {"num_predict": 7},
    }


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"n": 2}, "n", id="several answers"),
        pytest.param({"messages": []}, "messages", id="no messages"),
        pytest.param({"temperature": 3}, "temperature", id="too hot"),
        pytest.param(
            {"messages": [{"role": "tool", "tool_call_id": "x", "content": "a"}]}, "messages[0].tool_call_id", id="tool"
        ),
    ],
)
async def test_what_is_wrong_is_a_400_that_names_it(
    stack: Stack,
    fields: dict[str, Any],
    param: str,
    is_stream: bool,  # noqa: FBT001
) -> None:
    response = await complete(await stack.client(), stack.model(Answer(("text",))), **fields, stream=is_stream)

    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_a_model_that_nobody_has_is_a_404(stack: Stack) -> None:
    response = await complete(await stack.client(), "nobody-has-it", stream=True)

    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_path_that_there_is_not_tells_where_models_are_asked(stack: Stack) -> None:
    """SDKs have a newer call, which would be answered in another form."""
    response = await (await stack.client()).http.post("/openai/v1/responses", json={"model": "x", "input": "Hello?"})

    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert CHAT in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "status", "where"),
    [("/v1/chat/completions", 405, "/openai/v1"), ("/v1/embeddings", 404, "/openai/v1"), ("/api/chat", 404, "/ollama")],
)
async def test_who_asks_at_the_wrong_address_is_told_the_right_one(
    stack: Stack, path: str, status: int, where: str
) -> None:
    response = await (await stack.client()).http.post(path, json={})

    assert response.status_code == status
    assert f"below {where}" in response.json()["error"]["message"]


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("fail", "status", "code"),
    [
        pytest.param(Fail("invalid options", status=400), 400, "upstream_rejected", id="it is refused"),
        pytest.param(
            Fail("the prompt is longer than the context length currently available", status=400),
            400,
            "context_length_exceeded",
            id="the prompt is too long",
        ),
        pytest.param(Fail("llama runner process has terminated", status=500), 502, "upstream_error", id="it fails"),
    ],
)
async def test_what_ollama_refuses_at_once_has_a_status(
    stack: Stack,
    fail: Fail,
    status: int,
    code: str,
    is_stream: bool,  # noqa: FBT001
) -> None:
    response = await complete(await stack.client(), stack.model(Answer((fail,))), stream=is_stream)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers["X-Should-Retry"] == "false"


async def test_an_answer_that_breaks_off_ends_with_an_error_and_never_as_if_it_were_whole(stack: Stack) -> None:
    model = stack.model(Answer(("Once", " upon", Cut("rst"), End())))

    stream = await streamed(await stack.client(), model)

    assert stream.text == "Once upon"
    assert stream.error
    assert (stream.error["code"], stream.finish_reason) == ("worker_lost", None)


async def test_the_same_request_with_a_key_gets_the_same_answer(stack: Stack) -> None:
    model = stack.model(Answer(("one", ToolCalls(CALLS))), Answer(("two",)))
    client = await stack.client()
    key = {"Idempotency-Key": stack.gate()}
    body = {"model": model, "messages": ask("Hello?")}

    first = await client.http.post(CHAT, json=body, headers=key)
    again = await client.http.post(CHAT, json=body, headers=key)

    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()


async def test_a_client_that_goes_away_frees_the_slot(stack: Stack) -> None:
    model = stack.model(Answer(("one", Hang())))
    client = await stack.client()

    body = {"model": model, "messages": ask("Hello?"), "stream": True}
    async with client.http.stream("POST", CHAT, json=body) as response:
        assert response.status_code == 200
        await anext(response.aiter_raw())

    await stack.until_double(model, "aborted")


async def test_limits_are_told_as_openai_tells_them(stack: Stack) -> None:
    gateway = await stack.gateway(rate_limit_enabled=True, rate_limit_requests_per_minute=1, rate_limit_burst=2)
    client = await stack.newcomer(gateway=gateway)
    model = stack.model(Answer(("text",)))

    whole, stream, refused = [await complete(client, model, stream=is_stream) for is_stream in (False, True, True)]

    for response in (whole, stream, refused):
        assert response.headers["x-ratelimit-limit-requests"] == "1"
        assert response.headers.keys() >= {"ratelimit", "x-ratelimit-reset-requests", "x-ratelimit-remaining-tokens"}
    assert [response.headers["x-ratelimit-remaining-requests"] for response in (whole, stream)] == ["1", "0"]
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
