"""What OpenAI's clients ask of a chat reaches Ollama in its own terms: zeros stay, and so does the order of names."""

import json
from typing import Any

import msgspec
import pytest

from gateway.chat.inference import Inference
from gateway.openai_api.chat_completions import to_chat
from gateway.openai_api.chat_schemas import ChatCompletionRequest
from gateway.request_body import to_kind
from shared.errors import InvalidRequestError, UnsupportedParameterError
from shared.jobs import JobKind
from tests.images import in_base64, png

BODY = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}
PNG = in_base64(png())


def tool(name: str, **function: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"type": "function", "function": {"name": name, **function}}


TOOLS = [tool("a", description="A", parameters={"type": "object", "properties": {"z": {}, "b": {}}}), tool("b")]
OLLAMA_TOOLS = [TOOLS[0], tool("b", parameters={"type": "object", "properties": {}})]


def inference(**fields: Any) -> Inference:  # noqa: ANN401
    return to_chat(to_kind({**BODY, **fields}, ChatCompletionRequest))


def asked(**fields: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what of Ollama's request comes from these fields."""
    request = json.loads(msgspec.json.encode(inference(**fields).request))
    assert (request.pop("model"), request.pop("stream")) == ("demo", True)
    request.pop("messages")
    return {**request.pop("options"), **request}


def fault_of(**fields: Any) -> InvalidRequestError:  # noqa: ANN401
    with pytest.raises(InvalidRequestError) as raised:
        inference(**fields)
    return raised.value


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, {}, id="nothing, which leaves it to the model"),
        pytest.param(
            {"temperature": 0, "seed": 0, "top_p": 0, "frequency_penalty": 0, "presence_penalty": 0},
            {"temperature": 0, "seed": 0, "top_p": 0, "frequency_penalty": 0, "presence_penalty": 0},
            id="zeros",
        ),
        pytest.param({"temperature": 1.5, "top_p": 0.25}, {"temperature": 1.5, "top_p": 0.25}, id="how to choose"),
        pytest.param(
            {"frequency_penalty": -2, "presence_penalty": 0.5},
            {"frequency_penalty": -2, "presence_penalty": 0.5},
            id="penalties",
        ),
        pytest.param({"seed": 2**63 - 1}, {"seed": 2**63 - 1}, id="the largest seed"),
        pytest.param({"max_tokens": 7}, {"num_predict": 7}, id="max_tokens"),
        pytest.param({"max_completion_tokens": 7}, {"num_predict": 7}, id="max_completion_tokens"),
        pytest.param({"max_completion_tokens": 7, "max_tokens": 9}, {"num_predict": 7}, id="both, of which one wins"),
        pytest.param({"stop": "\n"}, {"stop": ["\n"]}, id="a stop"),
        pytest.param({"stop": ["a", "b"]}, {"stop": ["a", "b"]}, id="several stops"),
        pytest.param({"stop": ["", "b"]}, {"stop": ["b"]}, id="an empty stop, which would stop at once"),
        pytest.param({"stop": []}, {}, id="no stops"),
        pytest.param({"response_format": {"type": "text"}}, {}, id="text"),
        pytest.param({"response_format": {"type": "json_object"}}, {"format": "json"}, id="JSON"),
        pytest.param({"reasoning_effort": "none"}, {"think": False}, id="no thinking"),
        pytest.param({"reasoning_effort": "minimal"}, {"think": "low"}, id="hardly any thinking"),
        pytest.param({"reasoning_effort": "low"}, {"think": "low"}, id="little thinking"),
        pytest.param({"reasoning_effort": "medium"}, {"think": "medium"}, id="some thinking"),
        pytest.param({"reasoning_effort": "high"}, {"think": "high"}, id="much thinking"),
        pytest.param({"reasoning_effort": "xhigh"}, {"think": "high"}, id="very much thinking"),
        pytest.param({"reasoning": {"effort": "low"}}, {"think": "low"}, id="thinking as others write it"),
        pytest.param({"reasoning": {}, "reasoning_effort": "low"}, {"think": "low"}, id="thinking that says nothing"),
        pytest.param({"tools": []}, {}, id="an empty list of tools"),
        pytest.param({"tools": TOOLS}, {"tools": OLLAMA_TOOLS}, id="tools"),
        pytest.param({"tools": TOOLS, "tool_choice": "auto"}, {"tools": OLLAMA_TOOLS}, id="tools if it likes"),
        pytest.param({"tools": TOOLS, "tool_choice": "required"}, {"tools": OLLAMA_TOOLS}, id="tools in any case"),
        pytest.param({"tools": TOOLS, "tool_choice": "none"}, {}, id="tools that may not be called"),
        pytest.param({"tools": TOOLS, "tool_choice": tool("b")}, {"tools": OLLAMA_TOOLS[1:]}, id="a tool by its name"),
        pytest.param(
            {
                "tools": TOOLS,
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("a")]}},
            },
            {"tools": OLLAMA_TOOLS[:1]},
            id="some of the tools",
        ),
        pytest.param(
            {"tools": [tool("a", strict=True, parameters={})]},
            {"tools": [tool("a", parameters={})]},
            id="a strict tool",
        ),
    ],
)
def test_ollama_is_asked_for(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert asked(**fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"n": 1}, id="one answer"),
        pytest.param({"logprobs": False, "top_logprobs": 0}, id="no probabilities"),
        pytest.param({"modalities": ["text"]}, id="text alone"),
        pytest.param({"functions": [], "function_call": None, "audio": None}, id="what is empty of what is refused"),
        pytest.param({"stream_options": {"include_usage": True}}, id="options of a stream that is none"),
        pytest.param({"user": "ann", "store": True, "metadata": {"a": "b"}, "service_tier": "flex"}, id="bookkeeping"),
        pytest.param({"parallel_tool_calls": False, "logit_bias": {"1": 2}, "verbosity": "low"}, id="advice"),
        pytest.param({"top_k": "many", "think": 7, "options": 3}, id="fields that OpenAI does not know"),
        pytest.param(
            dict.fromkeys(ChatCompletionRequest.__struct_fields__[1:], None) | {"messages": BODY["messages"]},
            id="null wherever it may be",
        ),
    ],
)
def test_nothing_comes_of(fields: dict[str, Any]) -> None:
    assert asked(**fields) == {}


def test_a_schema_keeps_the_order_of_its_names() -> None:
    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "number"}}}
    response_format = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}}

    encoded = msgspec.json.encode(inference(response_format=response_format).request)

    assert b'"format":' + json.dumps(schema, separators=(",", ":")).encode() in encoded


def test_the_job_knows_what_it_needs() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    messages = [{"role": "user", "content": [image, image]}, {"role": "user", "content": [image]}]
    wanted = inference(messages=messages, stream=True, max_tokens=9, tools=TOOLS)

    assert wanted.kind is JobKind.CHAT
    assert wanted.images == [PNG] * 3
    assert (wanted.is_stream, wanted.num_predict, wanted.calls_tools) == (True, 9, True)
    assert (inference().is_stream, inference().calls_tools) == (False, False)
    assert not inference(tools=TOOLS, tool_choice="none").calls_tools


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"n": 2}, "n", id="several answers"),
        pytest.param({"logprobs": True}, "logprobs", id="probabilities"),
        pytest.param({"top_logprobs": 3}, "top_logprobs", id="more probabilities"),
        pytest.param({"modalities": ["text", "audio"]}, "modalities", id="speech"),
        pytest.param({"audio": {"voice": "alloy"}}, "audio", id="a voice"),
        pytest.param({"functions": [{"name": "f"}]}, "functions", id="functions"),
        pytest.param({"function_call": "auto"}, "function_call", id="a choice of functions"),
    ],
)
def test_what_would_change_the_answers_form_is_refused(fields: dict[str, Any], param: str) -> None:
    fault = fault_of(**fields)
    assert isinstance(fault, UnsupportedParameterError)
    assert fault.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"messages": []}, "messages", id="no messages"),
        pytest.param({"model": None}, "model", id="no model"),
        pytest.param({"n": 0}, "n", id="no answer"),
        pytest.param({"max_tokens": 0}, "max_tokens", id="no tokens"),
        pytest.param({"temperature": 2.1}, "temperature", id="too hot"),
        pytest.param({"seed": 2**63}, "seed", id="a seed that is too large"),
        pytest.param({"stream": "yes"}, "stream", id="a stream in words"),
        pytest.param({"reasoning_effort": "huge"}, "reasoning_effort", id="an unknown effort"),
        pytest.param({"response_format": {"type": "xml"}}, "response_format.type", id="an unknown format"),
        pytest.param(
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s"}}},
            "response_format.json_schema.schema",
            id="no schema",
        ),
        pytest.param({"tools": [{"type": "web_search"}]}, "tools[0].type", id="another kind of tool"),
        pytest.param({"tools": TOOLS, "tool_choice": tool("c")}, "tool_choice", id="a tool that there is not"),
        pytest.param({"tool_choice": tool("a")}, "tool_choice", id="a tool where there are none"),
        pytest.param({"tool_choice": "maybe"}, "tool_choice", id="an unknown choice"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    assert fault_of(**fields).param == param


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param(
            {"response_format": {"type": "json_schema", "json_schema": {"schema": nested(70)}}},
            "response_format.json_schema.schema",
            id="a deep schema",
        ),
        pytest.param({"tools": [tool("a", parameters=nested(70))]}, "tools[0].function.parameters", id="a deep tool"),
    ],
)
def test_what_ollama_would_choke_on_is_refused(fields: dict[str, Any], param: str) -> None:
    assert fault_of(**fields).param == param
