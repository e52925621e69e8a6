"""OpenAI's messages become Ollama's, one for one, and nothing that was said is lost."""

import json
from typing import Any

import msgspec
import pytest

from gateway.openai_api.chat_schemas import ChatCompletionRequest
from gateway.openai_api.messages import MOST_IMAGES, to_ollama_messages
from gateway.request_body import to_kind
from shared.errors import InvalidRequestError, UnsupportedParameterError
from tests.images import in_base64, png

PNG = in_base64(png())
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
USER = {"role": "user", "content": "Hi"}


def calling(arguments: str = '{"city":"Rome"}', **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call], **fields}


CALLED = {"id": "c1", "function": {"name": "weather", "arguments": {"city": "Rome"}}}


def ollama_json(*messages: dict[str, Any]) -> str:
    chat = to_kind({"model": "demo", "messages": messages}, ChatCompletionRequest)
    return msgspec.json.encode(to_ollama_messages(chat.messages)).decode()


def to_ollama(*messages: dict[str, Any]) -> Any:  # noqa: ANN401
    return json.loads(ollama_json(*messages))


def fault_of(*messages: dict[str, Any]) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as raised:
        to_ollama(*messages)
    return raised.value


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(USER, {"role": "user", "content": "Hi"}, id="a user's text"),
        pytest.param({**USER, "name": "ann"}, {"role": "user", "content": "Hi"}, id="a name, which Ollama has not"),
        pytest.param({"role": "system", "content": ""}, {"role": "system", "content": ""}, id="an empty instruction"),
        pytest.param({"role": "developer", "content": "Be"}, {"role": "system", "content": "Be"}, id="a developer's"),
        pytest.param(
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "a\nb"},
            id="several parts",
        ),
        pytest.param({"role": "user", "content": []}, {"role": "user", "content": ""}, id="no parts"),
        pytest.param(
            {"role": "user", "content": [IMAGE, {"type": "text", "text": "What?"}, IMAGE]},
            {"role": "user", "content": "What?", "images": [PNG, PNG]},
            id="images",
        ),
        pytest.param(
            {"role": "user", "content": [{"type": "image_url", "image_url": f"data:;base64,{PNG}"}]},
            {"role": "user", "content": "", "images": [PNG]},
            id="an image by its URL alone",
        ),
        pytest.param(
            {"role": "user", "content": [{**IMAGE, "image_url": {"url": f"DATA:image/PNG;q=1;base64,{PNG}"}}]},
            {"role": "user", "content": "", "images": [PNG]},
            id="an image of a type in other words",
        ),
        pytest.param(
            {"role": "assistant", "content": "a", "refusal": None, "function_call": None, "audio": None},
            {"role": "assistant", "content": "a"},
            id="what a model said, as SDKs give it back",
        ),
        pytest.param(
            {"role": "assistant", "content": "a", "reasoning": "hm"},
            {"role": "assistant", "content": "a", "thinking": "hm"},
            id="what it thought",
        ),
        pytest.param(
            {"role": "assistant", "content": "a", "reasoning_content": "hm"},
            {"role": "assistant", "content": "a", "thinking": "hm"},
            id="what it thought, in other words",
        ),
        pytest.param(
            {"role": "assistant", "content": None, "refusal": "No"}, {"role": "assistant", "content": "No"}, id="a no"
        ),
        pytest.param(
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
            {"role": "assistant", "content": "No"},
            id="a part that refuses",
        ),
        pytest.param(
            calling(), {"role": "assistant", "content": "", "tool_calls": [CALLED]}, id="a call without content"
        ),
        pytest.param(
            calling("", content="Let me see"),
            {
                "role": "assistant",
                "content": "Let me see",
                "tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": {}}}],
            },
            id="a call without arguments, and text",
        ),
        pytest.param(
            {"role": "tool", "content": "18", "name": "weather"},
            {"role": "tool", "content": "18", "tool_name": "weather"},
            id="a tool's answer by its name",
        ),
    ],
)
def test_a_message_becomes(message: dict[str, Any], expected: dict[str, Any]) -> None:
    assert to_ollama(message) == [expected]


def test_a_tools_answer_has_the_name_of_what_was_called() -> None:
    again = calling()
    again["tool_calls"][0]["function"]["name"] = "news"
    answer = {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "18"}]}

    messages = to_ollama(USER, calling(), answer, again, answer)

    assert messages[2] == {"role": "tool", "content": "18", "tool_name": "weather", "tool_call_id": "c1"}
    assert messages[4]["tool_name"] == "news"


def test_arguments_stand_there_as_they_were_written() -> None:
    arguments = '{"b": 1.50, "a": 12345678901234567890123, "c": "\\u00fc"}'
    assert f'"arguments":{arguments}' in ollama_json(calling(arguments))


def test_arguments_are_mended_as_all_text_is() -> None:
    """A client that cuts texts may cut an emoji, in what it gives back as well."""
    assert '"arguments":{"a":"\\ufffd \\ufffd"}' in ollama_json(calling('{"a":"\\ud83d \\u0000"}'))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param("{", "Expected JSON", id="half of it"),
        pytest.param("[1]", "Expected an object", id="a list"),
        pytest.param('"a"', "Expected an object", id="a text"),
        pytest.param('{"a":1,"a":2}', "Expected JSON", id="a name twice"),
        pytest.param('{"a":' * 70 + "1" + "}" * 70, "levels", id="too deep"),
        pytest.param("[" * 5000, "Expected JSON", id="absurdly deep"),
    ],
)
def test_arguments_that_are_no_object_are_refused(arguments: str, message: str) -> None:
    fault = fault_of(USER, calling(arguments))

    assert fault.param == "messages[1].tool_calls[0].function.arguments"
    assert message in fault.message


@pytest.mark.parametrize(
    ("message", "param"),
    [
        pytest.param({"role": "user", "content": None}, "messages[1].content", id="nothing said"),
        pytest.param({"role": "user"}, "messages[1].content", id="no content"),
        pytest.param({"content": "a"}, "messages[1].role", id="no role"),
        pytest.param({"role": "function", "name": "f", "content": "a"}, "messages[1].role", id="an old role"),
        pytest.param({"role": "assistant", "content": None}, "messages[1].content", id="a silent model"),
        pytest.param({"role": "assistant", "tool_calls": []}, "messages[1].content", id="a model that calls nothing"),
        pytest.param(
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
            "messages[1].content[0].type",
            id="audio",
        ),
        pytest.param({"role": "tool", "content": "a"}, "messages[1].tool_call_id", id="an answer to nothing"),
        pytest.param(
            {"role": "tool", "content": "a", "tool_call_id": "c9"}, "messages[1].tool_call_id", id="to no call"
        ),
        pytest.param(
            {"role": "user", "content": [{**IMAGE, "image_url": {"url": "data:image/png,abc"}}]},
            "messages[1].content[0].image_url",
            id="an image that is not in base64",
        ),
        pytest.param(
            {"role": "user", "content": [{**IMAGE, "image_url": {"url": PNG}}]},
            "messages[1].content[0].image_url",
            id="an image without data:",
        ),
        pytest.param(
            {"role": "user", "content": [{**IMAGE, "image_url": {"url": "data:image/png;base64,R0lGODlh"}}]},
            "messages[1].content[0].image_url",
            id="an image that is none",
        ),
        pytest.param(
            {"role": "user", "content": [IMAGE] * (MOST_IMAGES + 1)}, "messages[1].content", id="too many images"
        ),
    ],
)
def test_what_is_wrong_is_named(message: dict[str, Any], param: str) -> None:
    assert fault_of(USER, message).param == param


@pytest.mark.parametrize(
    ("message", "param"),
    [
        pytest.param(
            {"role": "user", "content": [{**IMAGE, "image_url": {"url": "HTTPS://example.com/a.png"}}]},
            "messages[0].content[0].image_url",
            id="an image elsewhere",
        ),
        pytest.param(
            {"role": "assistant", "content": "a", "function_call": {"name": "f", "arguments": "{}"}},
            "messages[0].function_call",
            id="a call as it was once made",
        ),
    ],
)
def test_what_there_is_not_is_refused_by_its_name(message: dict[str, Any], param: str) -> None:
    fault = fault_of(message)
    assert isinstance(fault, UnsupportedParameterError)
    assert fault.param == param


def test_null_is_as_good_as_absent() -> None:
    called = {"id": None, "type": "function", "function": {"name": "weather", "arguments": "{}"}}

    _, call, result = to_ollama(
        USER,
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "name": "weather", "tool_call_id": None, "content": None},
    )

    assert call["tool_calls"] == [{"function": {"name": "weather", "arguments": {}}}]
    assert result == {"role": "tool", "content": "", "tool_name": "weather"}
