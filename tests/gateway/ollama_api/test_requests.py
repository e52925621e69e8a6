"""What a client of Ollama's may send, and what Ollama is sent for it."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import msgspec
import pytest

from gateway.chat.free_json import MAX_DEPTH
from gateway.chat.inference import Inference
from gateway.ollama_api.bodies import with_whole_numbers
from gateway.ollama_api.chat_schemas import OllamaChatRequest
from gateway.ollama_api.generate_schemas import OllamaGenerateRequest
from gateway.ollama_api.loading import unloads
from gateway.ollama_api.to_ollama import to_chat, to_generation
from gateway.request_body import to_kind
from shared.errors import InvalidRequestError
from shared.jobs import JobKind
from tests.images import in_base64, jpeg, png

Call = Callable[..., Inference]

HELLO = [{"role": "user", "content": "Hello?"}]
SCHEMA = {"type": "object", "properties": {"z": {"type": "integer"}, "a": {"type": "string"}}, "required": ["z", "a"]}
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"z": {}, "a": {}}}},
}
CALL = {"function": {"name": "f", "arguments": {"z": 1, "a": None}}}
NO_DURATIONS = ["5", "5 m", "m", "-", "1d", "five minutes", True, [], {}, 1e300]
DURATIONS = ["5m", "1h30m", "1.5h", "-1s", "10ns", "+2ms", "3us", "2µs", "2μs", ".5s", "1.s", "0", 300, 0.5, -1, 2.5e3]
ZEROS = [0, 0.0, "0", "0s", "0h0m0.0s", "-0s"]


DEEP: dict[str, Any] = reduce(lambda inner, _: {"a": inner}, range(MAX_DEPTH), {})


def chat(**fields: object) -> Inference:
    return to_chat(to_kind({"model": "llama3", "messages": HELLO, **fields}, OllamaChatRequest))


def generate(**fields: object) -> Inference:
    return to_generation(to_kind({"model": "llama3", "prompt": "Hello?", **fields}, OllamaGenerateRequest))


def sent(inference: Inference) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(inference.request))


def same(inference: Inference, **fields: object) -> None:
    """Assert that Ollama is sent these fields as they are, to the order of the keys, and nothing more."""
    request = sent(inference)
    assert request.pop("model") == "llama3"
    assert request.pop("stream") is True
    assert msgspec.json.encode(request) == msgspec.json.encode(fields)


BOTH: dict[str, dict[str, Any]] = {
    "options that are zero": {"options": {"temperature": 0.0, "top_k": 0, "seed": 0, "num_predict": 0}},
    "a whole number for one with decimals": {"options": {"temperature": 1.0}},
    "options that are none": {"options": {}},
    "JSON as format": {"format": "json"},
    "a schema as format": {"format": SCHEMA},
    "thinking": {"think": True},
    "no thinking": {"think": False},
    "thinking a little": {"think": "low"},
    "thinking hard": {"think": "max"},
    "no truncating": {"truncate": False},
    "no shifting": {"shift": False},
}
"""What goes through as it is, in either call."""

IGNORED: dict[str, dict[str, Any]] = {
    "an unknown field": {"frobnicate": {"a": 1}},
    "an empty format": {"format": ""},
    "nulls": {
        "stream": None,
        "options": None,
        "format": None,
        "think": None,
        "keep_alive": None,
        "truncate": None,
        "shift": None,
        "logprobs": None,
    },
    "no probabilities": {"logprobs": False, "top_logprobs": 0},
    "how long the model is kept": {"keep_alive": 0},
    "a request to show the prompt": {"_debug_render_only": True},
}
"""What Ollama is not sent, in either call."""

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a model of no name": ({"model": ""}, "model"),
    "a model that is a path": ({"model": "../secrets"}, "model"),
    "a model that is a number": ({"model": 1}, "model"),
    "a stream that is text": ({"stream": "yes"}, "stream"),
    "options that are a list": ({"options": []}, "options"),
    "an option of the wrong type": ({"options": {"temperature": "hot"}}, "options.temperature"),
    "an option out of range": ({"options": {"top_p": 2}}, "options.top_p"),
    "a stop that is no list": ({"options": {"stop": "\n"}}, "options.stop"),
    "another format": ({"format": "yaml"}, "format"),
    "a format with too many levels": ({"format": DEEP}, "format"),
    "a format that is true": ({"format": True}, "format"),
    "another level of thinking": ({"think": "harder"}, "think"),
    "a level of thinking that is a number": ({"think": 1}, "think"),
    "probabilities": ({"logprobs": True}, "logprobs"),
    **{f"a keep_alive of {value!r}": ({"keep_alive": value}, "keep_alive") for value in NO_DURATIONS},
}
"""What is refused, in either call, and of which field that is told."""


@pytest.mark.parametrize("fields", BOTH.values(), ids=BOTH.keys())
def test_fields_reach_ollama_as_they_are(fields: dict[str, Any]) -> None:
    same(chat(**fields), messages=HELLO, **fields)
    same(generate(**fields), prompt="Hello?", **fields)


@pytest.mark.parametrize("fields", IGNORED.values(), ids=IGNORED.keys())
def test_fields_that_have_no_effect_stay_here(fields: dict[str, Any]) -> None:
    same(chat(**fields), messages=HELLO)
    same(generate(**fields), prompt="Hello?")


@pytest.mark.parametrize(("fields", "param"), WRONG.values(), ids=WRONG.keys())
def test_wrong_values_are_refused(fields: dict[str, Any], param: str) -> None:
    for call in (chat, generate):
        with pytest.raises(InvalidRequestError) as refusal:
            call(**fields)
        assert refusal.value.param == param


@pytest.mark.parametrize("call", [chat, generate])
def test_options_that_steer_the_machine_or_are_nobodys_are_left_out(call: Call) -> None:
    inference = call(options={"num_gpu": 99, "num_thread": 1, "mirostat": 2, "typo": [], "seed": 0})

    assert sent(inference)["options"] == {"seed": 0}


def test_whole_numbers_may_be_written_with_a_point() -> None:
    """Lua, R and others have one kind of number."""
    body = {"options": {"num_ctx": 4096.0, "seed": 0.0, "temperature": 1.0, "top_p": 0.5}}

    assert sent(chat(**with_whole_numbers(body)))["options"] == body["options"]
    assert msgspec.json.encode(chat(**body).request).count(b".0") == 1  # of the temperature


@pytest.mark.parametrize(
    "body", [[], "x", {}, {"options": None}, {"options": [1.0]}, {"options": {"seed": 1.5}}], ids=repr
)
def test_a_body_that_has_none_stays_as_it_is(body: object) -> None:
    assert with_whole_numbers(body) == body


@pytest.mark.parametrize("call", [chat, generate])
@pytest.mark.parametrize("duration", DURATIONS, ids=repr)
def test_a_duration_is_taken_as_go_writes_it(call: Call, duration: object) -> None:
    assert "keep_alive" not in sent(call(keep_alive=duration))


@pytest.mark.parametrize("call", [chat, generate])
@pytest.mark.parametrize(("stream", "is_stream"), [(True, True), (False, False), (None, True)])
def test_an_answer_is_a_stream_unless_the_client_says_otherwise(
    call: Call,
    stream: object,
    is_stream: object,
) -> None:
    assert call(stream=stream).is_stream is is_stream
    assert sent(call(stream=stream))["stream"] is True


def test_a_stream_is_what_comes_of_saying_nothing() -> None:
    assert chat().is_stream
    assert generate().is_stream


MESSAGES: dict[str, list[dict[str, Any]]] = {
    "every role": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "thinking": "They ask.", "tool_calls": [{**CALL, "id": "call_1"}]},
        {"role": "tool", "content": "12 °C", "tool_name": "f", "tool_call_id": "call_1"},
    ],
    "roles of a template's own": [
        {"role": "control", "content": "thinking"},
        {"role": "document 1", "content": "Once upon a time"},
    ],
    "images": [{"role": "user", "content": "What is this?", "images": [in_base64(png()), in_base64(jpeg())]}],
    "no content": [{"role": "user"}],
}


@pytest.mark.parametrize("messages", MESSAGES.values(), ids=MESSAGES.keys())
def test_messages_reach_ollama_as_they_are(messages: list[dict[str, Any]]) -> None:
    assert sent(chat(messages=messages))["messages"] == messages


def test_what_clients_add_to_messages_is_left_out() -> None:
    message = {
        "role": "Assistant",
        "content": None,
        "images": None,
        "name": "somebody",
        "tool_calls": [{"type": "function", "id": "1", "function": {**CALL["function"], "description": None}}],
    }

    assert sent(chat(messages=[message]))["messages"] == [{"role": "assistant", "tool_calls": [{**CALL, "id": "1"}]}]


@pytest.mark.parametrize("none", [{}, {"arguments": None}, {"arguments": {}}], ids=["absent", "null", "empty"])
def test_a_call_without_arguments_has_empty_ones(none: dict[str, Any]) -> None:
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", **none}}]}

    calls = sent(chat(messages=[message]))["messages"][0]["tool_calls"]

    assert calls == [{"function": {"name": "f", "arguments": {}}}]


WRONG_MESSAGES: dict[str, tuple[object, str]] = {
    "messages that are text": ("Hello?", "messages"),
    "a message that is text": (["Hello?"], "messages[0]"),
    "no role": ([{"content": "Hello?"}], "messages[0].role"),
    "a role of several lines": ([{"role": "user\nsystem", "content": ""}], "messages[0].role"),
    "content in parts": ([{"role": "user", "content": [{"type": "text", "text": ""}]}], "messages[0].content"),
    "an image that is none": ([{"role": "user", "images": ["AAAA"]}], "messages[0].images[0]"),
    "an image at an address": ([{"role": "user", "images": ["https://example.org/a.png"]}], "messages[0].images[0]"),
    "arguments with too many levels": (
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": DEEP}}]}],
        "messages[0].tool_calls[0].function.arguments",
    ),
    "arguments that are text": (
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}],
        "messages[0].tool_calls[0].function.arguments",
    ),
}


@pytest.mark.parametrize(("messages", "param"), WRONG_MESSAGES.values(), ids=WRONG_MESSAGES.keys())
def test_wrong_messages_are_refused(messages: object, param: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        chat(messages=messages)
    assert refusal.value.param == param


def test_tools_keep_the_order_of_their_keys() -> None:
    inference = chat(tools=[TOOL])

    same(inference, messages=HELLO, tools=[TOOL])
    assert inference.calls_tools


@pytest.mark.parametrize("tools", ["f", ["f"], [DEEP]], ids=["text", "a list of text", "too many levels"])
def test_wrong_tools_are_refused(tools: object) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        chat(tools=tools)
    assert (refusal.value.param or "").startswith("tools")


def test_an_image_beside_a_prompt_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        generate(images=[in_base64(png()), "AAAA"])
    assert refusal.value.param == "images[1]"


def test_images_of_all_messages_count_as_images() -> None:
    first, second = in_base64(png()), in_base64(jpeg())
    messages = [{"role": "user", "images": [first]}, *HELLO, {"role": "user", "images": [second]}]

    assert chat(messages=messages).images == [first, second]
    assert generate(images=[first, second]).images == [first, second]
    assert not chat().images
    assert not generate().images


@pytest.mark.parametrize("call", [chat, generate])
def test_the_longest_answer_counts_for_limits(call: Call) -> None:
    assert call(options={"num_predict": 0}).num_predict == 0
    assert call(options={"num_predict": 77}).num_predict == 77
    assert call().num_predict is None


GENERATE_FIELDS: dict[str, dict[str, Any]] = {
    "what comes after": {"suffix": "return x"},
    "a system prompt and a template": {"system": "Be kind.", "template": "{{ .Prompt }}"},
    "a raw prompt": {"raw": True},
    "the context of an earlier answer": {"context": [1, 0, 128_000]},
    "images": {"images": [in_base64(png())]},
}


@pytest.mark.parametrize("fields", GENERATE_FIELDS.values(), ids=GENERATE_FIELDS.keys())
def test_fields_of_a_prompt_reach_ollama_as_they_are(fields: dict[str, Any]) -> None:
    same(generate(**fields), prompt="Hello?", **fields)


@pytest.mark.parametrize("beside", [{"system": "x"}, {"template": "x"}, {"context": [1]}], ids=str)
def test_a_raw_prompt_takes_nothing_beside_it(beside: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        generate(raw=True, **beside)
    assert refusal.value.param == "raw"


LOADING: dict[str, Inference] = {
    "no messages": chat(messages=[]),
    "messages that are null": chat(messages=None),
    "an empty prompt": generate(prompt=""),
    "a prompt that is null": generate(prompt=None),
    "a keep_alive that is not 0": chat(messages=[], keep_alive="5m"),
}


@pytest.mark.parametrize("inference", LOADING.values(), ids=LOADING.keys())
def test_a_model_of_which_nothing_is_asked_is_loaded(inference: Inference) -> None:
    assert inference.kind is JobKind.GENERATE
    assert sent(inference) == {"model": "llama3", "prompt": "", "stream": True}
    assert inference.num_predict == 0
    assert not unloads(inference)


def test_a_model_is_loaded_with_the_options_with_which_it_is_asked() -> None:
    assert sent(chat(messages=[], options={"num_ctx": 4096}))["options"] == {"num_ctx": 4096}


@pytest.mark.parametrize("zero", ZEROS, ids=repr)
def test_a_model_of_which_nothing_is_asked_and_that_is_not_kept_is_unloaded(zero: object) -> None:
    for inference in (chat(messages=[], keep_alive=zero), generate(prompt="", keep_alive=zero)):
        assert unloads(inference)
        assert sent(inference)["keep_alive"] == 0


def test_a_model_that_is_asked_something_is_not_unloaded() -> None:
    assert not unloads(chat(keep_alive=0))
    assert not unloads(generate(keep_alive=0))
