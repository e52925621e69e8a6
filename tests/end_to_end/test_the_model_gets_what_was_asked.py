"""What Ollama is sent is what the client asked, with nothing added, dropped or rounded."""

from typing import Any

import pytest

from tests.end_to_end.client import ask, chat
from tests.end_to_end.stack import Stack
from tests.images import in_base64, jpeg, png
from tests.ollama_double import Answer

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "wetter",
            "description": "Wie ist das Wetter? \u2028 ☔",
            "parameters": {"type": "object", "properties": {"ort": {"type": "string", "enum": [""]}}, "required": []},
        },
    }
]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}, "additionalProperties": False}

FIELDS: dict[str, dict[str, Any]] = {
    "options that are zero": {
        "options": {"temperature": 0.0, "top_k": 0, "top_p": 0.0, "min_p": 0.0, "seed": 0, "num_predict": 0}
    },
    "every option": {
        "options": {
            "temperature": 0.7,
            "top_k": 40,
            "top_p": 0.9,
            "min_p": 0.05,
            "typical_p": 1.0,
            "seed": 42,
            "num_predict": 128,
            "num_keep": 5,
            "repeat_last_n": 64,
            "repeat_penalty": 1.1,
            "presence_penalty": 1.5,
            "frequency_penalty": -1.0,
            "stop": ["\n\n", "USER:"],
        }
    },
    "an empty list of stops": {"options": {"stop": []}},
    "JSON as format": {"format": "json"},
    "a schema as format": {"format": SCHEMA},
    "tools": {"tools": TOOLS},
    "no tools": {"tools": []},
    "thinking": {"think": True},
    "no thinking": {"think": False},
    "thinking hard": {"think": "high"},
}
MESSAGES: dict[str, list[dict[str, Any]]] = {
    "every role": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "They want to know.",
            "tool_calls": [{"function": {"name": "wetter", "arguments": {"ort": "Zürich", "tage": 0, "genau": False}}}],
        },
        {"role": "tool", "content": "12 °C", "tool_name": "wetter"},
    ],
    "images": [{"role": "user", "content": "What is this?", "images": [in_base64(png()), in_base64(jpeg())]}],
    "text of all kinds": [{"role": "user", "content": "a\r\nb\u2028c\x7f\u0085👩🏽‍💻\ufeff\U0010ffff"}],
    "no text": [{"role": "user", "content": ""}],
}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS.keys())
async def test_fields_reach_ollama_as_they_are(stack: Stack, fields: dict[str, Any]) -> None:
    model = stack.model(Answer(("text",)))

    response = await (await stack.client()).chat(model, messages=ask("Hello?"), **fields)

    assert response.status_code == 200, response.text
    (generation,) = stack.generations(model)
    assert generation.request == {"model": model, "messages": ask("Hello?"), "stream": True, **fields}


@pytest.mark.parametrize("messages", MESSAGES.values(), ids=MESSAGES.keys())
async def test_messages_reach_ollama_as_they_are(stack: Stack, messages: list[dict[str, Any]]) -> None:
    model = stack.model(Answer(("text",)))

    response = await (await stack.client()).chat(model, messages=messages)

    assert response.status_code == 200, response.text
    (generation,) = stack.generations(model)
    assert generation.request["messages"] == messages


async def test_fields_that_mean_nothing_to_ollama_stay_here(stack: Stack) -> None:
    """Tenants do not steer the GPU: `keep_alive` is understood and has no effect. Timeouts are ours to keep."""
    model = stack.model(Answer(("text",)))

    response = await (await stack.client()).chat(model, keep_alive=0, timeout_ms=60_000, queue_timeout_ms=60_000)

    assert response.status_code == 200, response.text
    (generation,) = stack.generations(model)
    assert generation.request.keys() == {"model", "messages", "stream"}


async def test_the_trace_of_the_client_goes_on_at_ollama(stack: Stack) -> None:
    model = stack.model(Answer(("text",)))
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"

    await (await stack.client()).chat(model, headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})

    (generation,) = stack.generations(model)
    version, continued, _, flags = generation.headers["traceparent"].split("-")
    assert (version, continued, flags) == ("00", trace_id, "01")


async def test_a_trace_that_is_none_does_no_harm(stack: Stack) -> None:
    model = stack.model(Answer(("text",)))
    client = await stack.client()

    response = await client.http.post("/v1/chat", json=chat(model), headers=[(b"traceparent", b"\xe9")])

    assert response.status_code == 200, response.text
    (generation,) = stack.generations(model)
    assert "traceparent" not in generation.headers


async def test_credentials_do_not_reach_ollama(stack: Stack) -> None:
    model = stack.model(Answer(("text",)))
    client = await stack.client()

    await client.chat(model, headers={"Cookie": "session=secret"})

    (generation,) = stack.generations(model)
    assert client.account.token not in str(generation)
    assert not {"authorization", "cookie", "x-request-id"} & generation.headers.keys()
