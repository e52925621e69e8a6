"""The official client of OpenAI in JavaScript."""

import asyncio
import re
from typing import Any

import pytest
from aiohttp import web

from infra.local.demo_model import embedding_of
from tests.clients.double import RemoteDouble
from tests.clients.node import Node
from tests.clients.offer import Offer
from tests.clients.questions import CITY, HELLO, IMAGE, PROMPT_TOKENS, UNUSUAL, call, in_two_steps
from tests.http_server import serving
from tests.ollama_double import Answer, Done, Fail, Hang, Thinking, ToolCalls

pytestmark = pytest.mark.client("openai", "JavaScript")


def chunks_of(model: str, chunks: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """Return the choices of a stream, once everything that its chunks have in common is judged."""
    first = chunks[0]
    assert re.fullmatch(r"chatcmpl-[0-9a-f]{32}", first["id"])
    common = {
        "id": first["id"],
        "object": "chat.completion.chunk",
        "created": first["created"],
        "model": model,
        "system_fingerprint": "fp_ollama",
        **fields,
    }
    assert all({**chunk, **common} == chunk for chunk in chunks)
    return [choice for chunk in chunks for choice in chunk["choices"]]


async def test_a_whole_answer(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    completion = await node("openai", "whole", model=model)

    assert re.fullmatch(r"chatcmpl-[0-9a-f]{32}", completion.pop("id"))
    assert isinstance(completion.pop("created"), int)
    assert completion == {
        "object": "chat.completion",
        "model": model,
        "system_fingerprint": "fp_ollama",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 3, "total_tokens": PROMPT_TOKENS + 3},
    }


async def test_nothing_that_was_asked_is_lost(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer((*HELLO, Done("length"))))
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    completion = await node(
        "openai",
        "whole",
        model=model,
        messages=messages,
        seed=0,
        temperature=0,
        top_p=0.5,
        max_completion_tokens=3,
        stop=["END", "STOP"],
        presence_penalty=0,
        frequency_penalty=-1,
        reasoning_effort="none",
        user="ada",
        store=False,
    )

    assert completion["choices"][0]["finish_reason"] == "length"
    [asked] = double.asked()
    assert asked.path == "/api/chat"
    assert asked.request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert asked.request["think"] is False
    wanted = {
        "seed": 0,
        "temperature": 0,
        "top_p": 0.5,
        "num_predict": 3,
        "stop": ["END", "STOP"],
        "presence_penalty": 0,
        "frequency_penalty": -1,
    }
    assert {name: asked.request["options"].get(name) for name in wanted} == wanted


async def test_a_stream(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    choices = chunks_of(model, await node("openai", "streamed", model=model))

    deltas = [choice["delta"] for choice in choices]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content") or "" for delta in deltas) == "Hello there"
    assert deltas[-1] == {}
    assert [choice["finish_reason"] for choice in choices] == [*(None for _ in deltas[1:]), "stop"]


async def test_a_stream_with_usage(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    chunks = await node("openai", "streamed", model=model, stream_options={"include_usage": True})

    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": 3,
        "total_tokens": PROMPT_TOKENS + 3,
    }
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert len(chunks_of(model, chunks)) == len(chunks) - 1


async def test_a_stream_that_the_client_puts_together(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    assembled = await node("openai", "assembled", model=model)

    assert assembled["deltas"] == list(HELLO)
    assert assembled["completion"]["choices"][0]["message"]["content"] == "Hello there"
    assert assembled["completion"]["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("check", ["whole", "streamed"])
async def test_characters_that_look_like_the_end_of_a_line(node: Node, double: RemoteDouble, check: str) -> None:
    model = double.model(Answer(UNUSUAL))

    told = await node("openai", check, model=model)

    if check == "whole":
        assert told["choices"][0]["message"]["content"] == "".join(UNUSUAL)
    else:
        assert "".join(choice["delta"].get("content") or "" for choice in chunks_of(model, told)) == "".join(UNUSUAL)


@pytest.mark.parametrize("check", ["whole", "streamed"])
async def test_what_the_model_thinks(node: Node, double: RemoteDouble, check: str) -> None:
    model = double.model(Answer((Thinking("Let me "), Thinking("see."), *HELLO)))

    told = await node("openai", check, model=model, reasoning_effort="high")

    if check == "whole":
        message = told["choices"][0]["message"]
        assert (message["reasoning"], message["content"]) == ("Let me see.", "Hello there")
    else:
        deltas = [choice["delta"] for choice in chunks_of(model, told)]
        assert [delta["reasoning"] for delta in deltas if "reasoning" in delta] == ["Let me ", "see."]
        assert "".join(delta.get("content") or "" for delta in deltas) == "Hello there"
    assert double.asked()[0].request["think"] == "high"


async def test_calls_of_tools(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer((ToolCalls([call("Oslo"), {"function": {"name": "weather", "arguments": {}}}]),)))

    completion = await node("openai", "tools", model=model)

    [choice] = completion["choices"]
    calls = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert [(call["type"], call["function"]) for call in calls] == [
        ("function", {"name": "weather", "arguments": '{"city":"Oslo"}'}),
        ("function", {"name": "weather", "arguments": "{}"}),
    ]
    assert len({call["id"] for call in calls}) == 2
    assert double.asked()[0].request["tools"][0]["function"]["parameters"]["required"] == ["city"]


async def test_streamed_calls_of_tools(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer((ToolCalls([call("Oslo")]), ToolCalls([call("Rome")]))))

    choices = chunks_of(model, await node("openai", "streamedTools", model=model))

    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", ())]
    assert [call["index"] for call in calls] == [0, 1]
    assert all(call["type"] == "function" and call["id"] for call in calls)
    assert [call["function"] for call in calls] == [
        {"name": "weather", "arguments": arguments} for arguments in ('{"city":"Oslo"}', '{"city":"Rome"}')
    ]
    assert choices[-1] == {**choices[-1], "delta": {}, "finish_reason": "tool_calls"}


async def test_tools_are_left_out_where_none_may_be_called(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    await node("openai", "tools", model=model, tool_choice="none")

    assert not double.asked()[0].request.get("tools")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_tools_that_the_client_runs(node: Node, double: RemoteDouble, *, stream: bool) -> None:
    model = double.model(*in_two_steps("Oslo"))

    told = await node("openai", "runTools", model=model, stream=stream)

    assert told == {"asked": ["Oslo"], "answer": "It is sunny.", "roles": ["user", "assistant", "tool", "assistant"]}
    _, called, answered = double.asked()[1].request["messages"]
    assert called["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Oslo"}}
    assert (answered["role"], answered["tool_name"], answered["content"]) == ("tool", "weather", "sunny in Oslo")


async def test_an_answer_in_a_schema(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer((CITY.model_dump_json(),)))

    assert await node("openai", "parsed", model=model) == CITY.model_dump()
    schema = double.asked()[0].request["format"]
    assert list(schema["properties"]) == ["name", "inhabitants"]  # in the order of the client


async def test_an_image(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
    ]

    await node("openai", "whole", model=model, messages=[{"role": "user", "content": parts}])

    [message] = double.asked()[0].request["messages"]
    assert (message["content"], message["images"]) == ("What is this?", [IMAGE])


async def test_a_completion(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    completion = await node("openai", "completion", model=model, max_tokens=5)

    assert completion["object"] == "text_completion"
    assert [(choice["text"], choice["finish_reason"]) for choice in completion["choices"]] == [("Hello there", "stop")]
    assert double.asked()[0].request["options"]["num_predict"] == 5


async def test_a_streamed_completion(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    chunks = await node("openai", "streamedCompletion", model=model)

    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["text"] for choice in choices) == "Hello there"
    assert [choice["finish_reason"] for choice in choices] == [*(None for _ in choices[1:]), "stop"]


@pytest.mark.parametrize("fields", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
async def test_embeddings(node: Node, double: RemoteDouble, fields: dict[str, str]) -> None:
    model = double.model(Answer())

    told = await node("openai", "embeddings", model=model, input=["one text", "another"], **fields)

    assert told["object"] == "list"
    assert [entry["index"] for entry in told["data"]] == [0, 1]
    for entry, text in zip(told["data"], ["one text", "another"], strict=True):
        assert entry["embedding"] == pytest.approx(embedding_of(text), abs=1e-7)  # base64 is of 32-bit floats
    assert told["usage"]["prompt_tokens"] == told["usage"]["total_tokens"] == 3


async def test_shorter_embeddings(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer())

    told = await node("openai", "embeddings", model=model, input="one text", dimensions=8)

    assert told["data"][0]["embedding"] == pytest.approx(embedding_of("one text", 8), abs=1e-7)


async def test_models(node: Node, offer: Offer) -> None:
    listed = await node("openai", "models")

    assert {model["id"] for model in listed} >= set(offer.models)
    assert {model["object"] for model in listed} == {"model"}
    assert await node("openai", "oneModel", model=offer.models[0]) in listed


async def test_a_model_that_there_is_not(node: Node) -> None:
    for check in ("noSuchModel", "refusedChat", "refusedStream"):
        error = await node("openai", check, model="nobody/has-it:1b")
        assert (error["class"], error["status"], error["code"]) == ("NotFoundError", 404, "model_not_found")


async def test_a_model_that_nobody_can_serve_just_now(impatient: Node, offer: Offer) -> None:
    error = await impatient("openai", "refusedStream", model=offer.orphan)

    assert (error["class"], error["status"], error["code"]) == ("InternalServerError", 503, "no_worker")
    assert int(error["retryAfter"]) > 0


async def test_a_name_without_a_tag(node: Node, double: RemoteDouble, offer: Offer) -> None:
    models = [double.model(Answer(HELLO)) for _ in offer.models]
    named = next(model.removesuffix(":latest") for model in models if model.endswith(":latest"))

    assert (await node("openai", "whole", model=named))["model"] == named
    assert (await node("openai", "oneModel", model=named))["id"] == f"{named}:latest"


@pytest.mark.parametrize("check", ["refusedChat", "refusedStream"])
async def test_a_key_that_is_not_good(stranger: Node, offer: Offer, check: str) -> None:
    error = await stranger("openai", check, model=offer.models[0])

    assert (error["class"], error["status"]) == ("AuthenticationError", 401)
    assert error["type"] == "authentication_error"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 7}, "temperature"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"logprobs": True}, "logprobs"),
    ],
    ids=["too hot", "two answers", "no messages", "probabilities"],
)
async def test_what_is_wrong_with_a_request(node: Node, offer: Offer, fields: dict[str, Any], param: str) -> None:
    error = await node("openai", "refusedChat", model=offer.models[0], **fields)

    assert (error["class"], error["status"], error["param"]) == ("BadRequestError", 400, param)
    assert error["type"] == "invalid_request_error"
    assert error["requestID"]


async def test_the_other_api_of_openai_is_not_there(node: Node, offer: Offer) -> None:
    error = await node("openai", "responses", model=offer.models[0])

    assert (error["class"], error["status"]) == ("NotFoundError", 404)
    assert "/openai/v1/chat/completions" in error["message"]


async def test_a_model_that_fails(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer((Fail(),)))

    for check in ("refusedChat", "refusedStream"):
        error = await node("openai", check, model=model)
        assert error["class"] == "InternalServerError"
        assert error["status"] >= 500


async def test_a_model_that_fails_in_the_middle(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", "lo", Fail())))

    broken = await node("openai", "brokenOff", model=model)

    assert broken["deltas"] == ["Hel", "lo"]
    assert broken["error"]["class"] == "APIError"
    assert broken["error"]["code"] == "worker_lost"  # begun anew, which a stream in this form cannot tell


async def test_who_asks_too_often_waits_as_told(impatient: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    assert sorted(await impatient("openai", "retried", model=model, times=2)) == [200, 200, 429]


async def test_who_asks_too_often_is_told(impatient: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    [error] = await impatient("openai", "refusals", model=model, times=2)

    assert (error["class"], error["status"], error["code"]) == ("RateLimitError", 429, "rate_limited")
    assert error["retryAfter"] == "1"


@pytest.mark.parametrize("by", ["abort", "break"])
async def test_a_stream_that_is_left_frees_its_slot(node: Node, double: RemoteDouble, by: str) -> None:
    model = double.model(Answer(("one ", "two ", Hang())))

    async with node.running("openai", "left", model=model, pieces=2, by=by) as deltas:
        assert deltas == ["one ", "two "]
        double.until(lambda asked: [each.outcome for each in asked] == ["aborted"], "the model has stopped")


async def test_a_whole_answer_that_is_left_frees_its_slot(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer((Hang(),)))

    async def until_asked(_request: web.Request) -> web.Response:
        await asyncio.to_thread(double.until, bool, "the model is asked")
        return web.Response()

    async with (
        serving(until_asked) as address,
        node.running("openai", "abortedBeforeTheFirstPiece", model=model, waitFor=f"http://{address}/") as error,
    ):
        assert error["class"] == "APIUserAbortError"
        await asyncio.to_thread(
            double.until, lambda asked: [each.outcome for each in asked] == ["aborted"], "the model has stopped"
        )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_request_that_is_sent_again(node: Node, double: RemoteDouble, *, stream: bool) -> None:
    model = double.model(Answer(HELLO))

    first, second = await node("openai", "again", model=model, stream=stream)

    assert first == second
    assert len(double.asked()) == 1


async def test_what_headers_tell(impatient: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    told = await impatient("openai", "headers", model=model)

    assert told["id"] == told["request_id"]
    assert set(told["limits"]) == {
        f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
    }


async def test_an_access_token_is_as_good_as_a_key(person: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    completion = await person("openai", "whole", model=model)

    assert completion["choices"][0]["message"]["content"] == "Hello there"
