"""Bodies that no client of OpenAI's or Ollama's protocols should send: right in their outer form, and wrong within.

What is wrong with any body, field, method or credential is made from the routes by tests/hostile_requests.py, which
sends these as well.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from gateway.chat import free_json
from tests.images import in_base64, png

CANARY = "canary"  # stands in what is sent, and must not come back

Json = dict[str, Any]

CHAT, COMPLETION = "/openai/v1/chat/completions", "/openai/v1/completions"
OLLAMA_CHAT, OLLAMA_GENERATE = "/ollama/api/chat", "/ollama/api/generate"

_USER: Json = {"role": "user", "content": CANARY}
_CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_TOOL: Json = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


class HostileBody(Struct, frozen=True):
    """What is sent where, and what must come back beside status 400."""

    name: str
    path: str
    body: Json
    param: str
    code: str = "invalid_request"


def hostile_bodies(model: str) -> Iterator[HostileBody]:
    """Return all of them; `model` is one that there is."""
    cases = {
        CHAT: (_chats(), {"messages": [_USER]}, "invalid_request"),
        COMPLETION: (_completions(), {"prompt": CANARY}, "invalid_request"),
        OLLAMA_CHAT: (_ollama_chats(), {"messages": [_USER]}, "invalid_request"),
        OLLAMA_GENERATE: (_ollama_generations(), {"prompt": CANARY}, "invalid_request"),
    }
    for path, (wrong, good, code) in cases.items():
        for name, (fields, param) in wrong.items():
            yield HostileBody(f"{name} for {path}", path, {"model": model, **good, **fields}, param, code)
    for path, unserved in ((CHAT, _unserved_by_chats()), (COMPLETION, _unserved_by_completions())):
        for name, (fields, param) in unserved.items():
            body = {"model": model, **cases[path][1], **fields}
            yield HostileBody(f"{name} for {path}", path, body, param, "unsupported_parameter")


def _chats() -> Mapping[str, tuple[Json, str]]:
    def said(*parts: Any) -> Json:  # noqa: ANN401  any JSON
        return {"messages": [{"role": "user", "content": [*parts]}]}

    def called(arguments: str) -> Json:
        function = {"name": "f", "arguments": arguments}
        return {"messages": [{"role": "assistant", "tool_calls": [_CALL | {"function": function}]}]}

    def pictured(url: object) -> Json:
        return said({"type": "image_url", "image_url": {"url": url}})

    picture = "messages[0].content[0].image_url"
    arguments = "messages[0].tool_calls[0].function.arguments"
    return {
        "no message": ({"messages": []}, "messages"),
        "4,097 messages": ({"messages": [_USER] * 4097}, "messages"),
        "a role of nobody": ({"messages": [_USER | {"role": "root"}]}, "messages[0].role"),
        "a role in capitals": ({"messages": [_USER | {"role": "User"}]}, "messages[0].role"),
        "a role of the old functions": ({"messages": [_USER | {"role": "function"}]}, "messages[0].role"),
        "a message without a role": ({"messages": [{"content": CANARY}]}, "messages[0].role"),
        "a user who says nothing": ({"messages": [{"role": "user"}]}, "messages[0].content"),
        "an assistant who says and calls nothing": ({"messages": [{"role": "assistant"}]}, "messages[0].content"),
        "a part of a kind that there is not": (said({"type": "video", "video": CANARY}), "messages[0].content[0].type"),
        "a part without a kind": (said({"text": CANARY}), "messages[0].content[0].type"),
        "a part that is text": (said(CANARY), "messages[0].content[0]"),
        "a part that is nothing": (said(None), "messages[0].content[0]"),
        "a part with a number for its text": (said({"type": "text", "text": 1}), "messages[0].content[0].text"),
        "1,025 parts": (said(*[{"type": "text", "text": "x"}] * 1025), "messages[0].content"),
        "33 images": (
            said(*[{"type": "image_url", "image_url": f"data:image/png;base64,{in_base64(png())}"}] * 33),
            "messages[0].content",
        ),
        "an image without a URL": (said({"type": "image_url", "image_url": {}}), f"{picture}.url"),
        "an image whose URL is a number": (pictured(7), f"{picture}.url"),
        "an image in a file": (pictured("file:///etc/passwd"), picture),
        "an image by FTP": (pictured("ftp://evil.example.org/a.png"), picture),
        "an image that is not encoded": (pictured("data:image/png,abc"), picture),
        "an image in a wrong encoding": (pictured("data:image/png;base64,****"), picture),
        "an image that is none": (pictured("data:image/png;base64,aGVsbG8="), picture),
        "an image that is empty": (pictured("data:image/png;base64,"), picture),
        "arguments that are no JSON": (called("{"), arguments),
        "arguments that are a list": (called("[1]"), arguments),
        "arguments that are two objects": (called("{}{}"), arguments),
        "arguments with a name twice": (called('{"a": 1, "a": 2}'), arguments),
        "arguments that are not a number": (called('{"a": NaN}'), arguments),
        "arguments that are deep": (called('{"a":' * 100_000 + "1" + "}" * 100_000), arguments),
        "an object for arguments": (
            {"messages": [{"role": "assistant", "tool_calls": [_CALL | {"function": {"name": "f", "arguments": {}}}]}]},
            arguments,
        ),
        "129 calls": ({"messages": [{"role": "assistant", "tool_calls": [_CALL] * 129}]}, "messages[0].tool_calls"),
        "a tool that answers what nobody asked": (
            {"messages": [_USER, {"role": "tool", "content": "x", "tool_call_id": "call_9"}]},
            "messages[1].tool_call_id",
        ),
        "a tool that answers nobody": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        "a tool of a kind that there is not": ({"tools": [_TOOL | {"type": "browser"}]}, "tools[0].type"),
        "a tool without a name": ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        "a tool with an empty name": (
            {"tools": [{"type": "function", "function": {"name": ""}}]},
            "tools[0].function.name",
        ),
        "513 tools": ({"tools": [_TOOL] * 513}, "tools"),
        "a tool whose parameters are deep": (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": _deep()}}]},
            "tools[0].function.parameters",
        ),
        "a choice of a tool that there is not": (
            {"tools": [_TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
        ),
        "a choice of no kind": ({"tools": [_TOOL], "tool_choice": "perhaps"}, "tool_choice"),
        "a format of a kind that there is not": ({"response_format": {"type": "xml"}}, "response_format.type"),
        "a format without its schema": ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        "a schema that is a list": (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": []}}},
            "response_format.json_schema.schema",
        ),
        "a schema that is deep": (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": _deep()}}},
            "response_format.json_schema.schema",
        ),
        "an effort that nobody makes": ({"reasoning_effort": "heroic"}, "reasoning_effort"),
        "an effort that nobody makes, within": ({"reasoning": {"effort": "heroic"}}, "reasoning.effort"),
        "options of a stream that are none": ({"stream": True, "stream_options": "usage"}, "stream_options"),
        **_sampled(),
        "no token": ({"max_completion_tokens": 0}, "max_completion_tokens"),
    }


def _completions() -> Mapping[str, tuple[Json, str]]:
    return {
        "no prompt": ({"prompt": []}, "prompt"),
        "a prompt that is an object": ({"prompt": {"text": CANARY}}, "prompt"),
        "a suffix that is a list": ({"suffix": [CANARY]}, "suffix"),
        **_sampled(),
    }


def _sampled() -> dict[str, tuple[Json, str]]:
    return {
        "fewer than no tokens": ({"max_tokens": -1}, "max_tokens"),
        "a million and one tokens": ({"max_tokens": 1_000_001}, "max_tokens"),
        "more heat than there is": ({"temperature": 2.1}, "temperature"),
        "less heat than none": ({"temperature": -0.1}, "temperature"),
        "heat as text": ({"temperature": "hot"}, "temperature"),
        "more than everything": ({"top_p": 1.1}, "top_p"),
        "a seed of 65 bits": ({"seed": 2**64}, "seed"),
        "a seed that is a fraction": ({"seed": 0.5}, "seed"),
        "17 stops": ({"stop": ["x"] * 17}, "stop"),
        "a stop of 1,025 characters": ({"stop": "x" * 1025}, "stop"),
        "a stop that is a number": ({"stop": [1]}, "stop[0]"),
        "no answer": ({"n": 0}, "n"),
        "fewer than no answers": ({"n": -1}, "n"),
        "a stream that is text": ({"stream": "true"}, "stream"),
    }


def _unserved_by_chats() -> Mapping[str, tuple[Json, str]]:
    remote = {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": f"https://{CANARY}.example/a.png"}}],
    }
    return {
        "an image somewhere else": ({"messages": [remote]}, "messages[0].content[0].image_url"),
        "an old call of a function": (
            {"messages": [{"role": "assistant", "content": "x", "function_call": {"name": "f"}}]},
            "messages[0].function_call",
        ),
        "two answers": ({"n": 2}, "n"),
        "probabilities": ({"logprobs": True}, "logprobs"),
        "old functions": ({"functions": [{"name": "f"}]}, "functions"),
        "sound": ({"modalities": ["text", "audio"]}, "modalities"),
        "a voice": ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    }


def _unserved_by_completions() -> Mapping[str, tuple[Json, str]]:
    return {
        "tokens": ({"prompt": [1, 2, 3]}, "prompt"),
        "lists of tokens": ({"prompt": [[1, 2], [3]]}, "prompt"),
        "two prompts": ({"prompt": ["a", "b"]}, "prompt"),
        "the best of two": ({"best_of": 2}, "best_of"),
        "an echo": ({"echo": True}, "echo"),
        "probabilities": ({"logprobs": 5}, "logprobs"),
    }


def _ollama_chats() -> Mapping[str, tuple[Json, str]]:
    return {
        "4,097 messages": ({"messages": [_USER] * 4097}, "messages"),
        "a message that is text": ({"messages": [CANARY]}, "messages[0]"),
        "a message without a role": ({"messages": [{"content": CANARY}]}, "messages[0]"),
        "a role with a newline": ({"messages": [_USER | {"role": "user\n"}]}, "messages[0].role"),
        "a role of 65 characters": ({"messages": [_USER | {"role": "r" * 65}]}, "messages[0].role"),
        "content in parts": ({"messages": [_USER | {"content": [{"type": "text"}]}]}, "messages[0].content"),
        "an image that is none": ({"messages": [_USER | {"images": ["aGVsbG8="]}]}, "images[0]"),
        "an image by a URL": ({"messages": [_USER | {"images": ["https://evil.example.org/a.png"]}]}, "images[0]"),
        "33 images": ({"messages": [_USER | {"images": [in_base64(png())] * 33}]}, "images"),
        "arguments that are text": (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
            "arguments",
        ),
        "tools that are deep": ({"tools": [_deep()]}, "tools"),
        "513 tools": ({"tools": [_TOOL] * 513}, "tools"),
        **_ollama_generating(),
    }


def _ollama_generations() -> Mapping[str, tuple[Json, str]]:
    return {
        "a prompt in a list": ({"prompt": [CANARY]}, "prompt"),
        "an image that is none": ({"images": ["aGVsbG8="]}, "images[0]"),
        "a context of no tokens": ({"context": [-1]}, "context[0]"),
        "a raw prompt with a system": ({"raw": True, "system": "x"}, "raw"),
        **_ollama_generating(),
    }


def _ollama_generating() -> dict[str, tuple[Json, str]]:
    return {
        "more heat than there is": ({"options": {"temperature": 1e9}}, "options.temperature"),
        "a context beyond any": ({"options": {"num_ctx": 10**12}}, "options.num_ctx"),
        "17 stops": ({"options": {"stop": ["x"] * 17}}, "options.stop"),
        "options in a list": ({"options": [1]}, "options"),
        "a format that is a word": ({"format": "xml"}, "format"),
        "a format that is deep": ({"format": _deep()}, "format"),
        "a thought that nobody has": ({"think": "hard"}, "think"),
        "a time that is none": ({"keep_alive": "a while"}, "keep_alive"),
        "probabilities": ({"logprobs": True}, "logprobs"),
        "a stream that is text": ({"stream": "true"}, "stream"),
    }


def _deep() -> Json:
    deep: Json = {}
    for _ in range(free_json.MAX_DEPTH + 1):
        deep = {"a": deep}
    return deep
