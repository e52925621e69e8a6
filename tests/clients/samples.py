"""A value of each parameter, and what must become of it: what `docs/compatibility.md` says, as something to try."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import httpx
from msgspec import Struct

from tests.clients.questions import IMAGE, PROMPT

Status = Literal["supported", "ignored", "refused"]
ABSENT = "<absent>"

_IMAGE_URL = f"data:image/png;base64,{IMAGE}"
_TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("weather", "news")
]
_SCHEMA = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "string"}}}
_CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
_CALLED = {"role": "assistant", "content": None, "tool_calls": [_CALL]}


class Sent(Struct, frozen=True):
    """It has its effect on what Ollama is sent."""

    value: Any
    got: Mapping[str, Any]  # what stands there, by its path; `ABSENT` for nothing
    beside: Mapping[str, Any] = {}  # what else is asked for

    status: Status = "supported"


class Answered(Struct, frozen=True):
    """It has its effect on the answer."""

    value: Any
    shows: Callable[[httpx.Response], object]
    beside: Mapping[str, Any] = {}

    status: Status = "supported"


class Ignored(Struct, frozen=True):
    """Ollama is sent the same as without it."""

    value: Any
    beside: Mapping[str, Any] = {}

    status: Status = "ignored"


class Refused(Struct, frozen=True):
    """It is answered 400, and the error names it."""

    value: Any
    beside: Mapping[str, Any] = {}

    status: Status = "refused"


Sample: TypeAlias = Sent | Answered | Ignored | Refused
Samples: TypeAlias = Mapping[str, Sequence[Sample]]

QUESTION: list[Any] = [{"role": "user", "content": PROMPT}]


def says(*messages: Any) -> list[Any]:  # noqa: ANN401  JSON
    """Return a chat that ends with the question."""
    return [*messages, *QUESTION]


def _option(name: str, value: object) -> Sent:
    return Sent(value, {f"options.{name}": value})


def _is_stream(response: httpx.Response) -> bool:
    return response.headers["Content-Type"].startswith("text/event-stream")


def _has_usage(response: httpx.Response) -> bool:
    return '"choices":[],"usage":{' in response.text


def _part(part: Any) -> Any:  # noqa: ANN401  JSON
    return [{"role": "user", "content": [{"type": "text", "text": PROMPT}, part]}]


_SAMPLING: Samples = {
    "frequency_penalty": [_option("frequency_penalty", 0.5)],
    "logit_bias": [Ignored({"1": 5})],
    "max_tokens": [Sent(7, {"options.num_predict": 7})],
    "model": [Sent("ada", {"model": "ada:latest"})],
    "n": [Refused(2), Ignored(1)],
    "presence_penalty": [_option("presence_penalty", -0.5)],
    "seed": [_option("seed", 0)],
    "stop": [Sent("x", {"options.stop": ["x"]}), Sent(["x", "y"], {"options.stop": ["x", "y"]})],
    "stream": [Answered(True, _is_stream)],
    "stream_options": [Answered({"include_usage": True}, _has_usage, {"stream": True})],
    "temperature": [_option("temperature", 0)],
    "top_p": [_option("top_p", 0.5)],
    "user": [Ignored("ada")],
}

OPENAI_CHAT: Samples = {
    **_SAMPLING,
    "audio": [Refused({"voice": "alloy", "format": "mp3"})],
    "function_call": [Refused("auto")],
    "functions": [Refused([{"name": "weather"}])],
    "logprobs": [Refused(True), Ignored(False)],
    "max_completion_tokens": [Sent(7, {"options.num_predict": 7}, {"max_tokens": 9})],
    "messages": [Sent(says({"role": "developer", "content": "x"}), {"messages.0": {"role": "system", "content": "x"}})],
    "metadata": [Ignored({"a": "b"})],
    "modalities": [Refused(["text", "audio"]), Ignored(["text"])],
    "moderation": [Ignored({"model": "omni-moderation-latest"})],
    "parallel_tool_calls": [Ignored(False, {"tools": _TOOLS})],
    "prediction": [Ignored({"type": "content", "content": "x"})],
    "prompt_cache_key": [Ignored("x")],
    "prompt_cache_options": [Ignored({})],
    "prompt_cache_retention": [Ignored("24h")],
    "reasoning": [Sent({"effort": "low"}, {"think": "low"})],
    "reasoning_effort": [
        Sent("none", {"think": False}),
        Sent("minimal", {"think": "low"}),
        Sent("medium", {"think": "medium"}),
        Sent("xhigh", {"think": "high"}),
    ],
    "response_format": [
        Sent({"type": "json_object"}, {"format": "json"}),
        Sent({"type": "json_schema", "json_schema": {"name": "x", "schema": _SCHEMA}}, {"format": _SCHEMA}),
        Sent({"type": "text"}, {"format": ABSENT}),
    ],
    "safety_identifier": [Ignored("x")],
    "service_tier": [Ignored("flex")],
    "store": [Ignored(True)],
    "tool_choice": [
        Sent("none", {"tools": ABSENT}, {"tools": _TOOLS}),
        Sent({"type": "function", "function": {"name": "news"}}, {"tools": _TOOLS[1:]}, {"tools": _TOOLS}),
        Ignored("required", {"tools": _TOOLS}),
    ],
    "tools": [Sent(_TOOLS, {"tools": _TOOLS})],
    "top_logprobs": [Refused(3)],
    "verbosity": [Ignored("low")],
    "web_search_options": [Ignored({})],
}

OPENAI_MESSAGES: Samples = {
    "role `developer`": [Sent(says({"role": "developer", "content": "x"}), {"messages.0.role": "system"})],
    "role `system`": [Sent(says({"role": "system", "content": "x"}), {"messages.0.role": "system"})],
    "role `user`": [Sent(QUESTION, {"messages": QUESTION})],
    "role `assistant`": [Sent(says({"role": "assistant", "content": "x"}), {"messages.0.role": "assistant"})],
    "role `tool`": [
        Sent(
            says(_CALLED, {"role": "tool", "tool_call_id": "1", "content": "sunny"}),
            {"messages.0.tool_calls.0.function.arguments": {"city": "Bern"}, "messages.1.tool_name": "weather"},
        )
    ],
    "role `function`": [Refused(says({"role": "function", "name": "x", "content": "x"}))],
    "part `text`": [Sent(_part({"type": "text", "text": "x"}), {"messages.0.content": f"{PROMPT}\nx"})],
    "part `image_url`": [
        Sent(_part({"type": "image_url", "image_url": {"url": _IMAGE_URL}}), {"messages.0.images": [IMAGE]}),
        Refused(_part({"type": "image_url", "image_url": {"url": "https://example.org/dot.png"}})),
    ],
    "part `input_audio`": [Refused(_part({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}))],
    "part `file`": [Refused(_part({"type": "file", "file": {"file_id": "x"}}))],
}

OPENAI_COMPLETIONS: Samples = {
    **_SAMPLING,
    "best_of": [Refused(2), Ignored(1)],
    "echo": [Refused(True), Ignored(False)],
    "logprobs": [Refused(1)],
    "prompt": [Sent("x", {"prompt": "x"}), Sent(["x"], {"prompt": "x"}), Refused(["x", "y"]), Refused([1, 2])],
    "suffix": [Sent("x", {"suffix": "x"})],
}

OPENAI_EMBEDDINGS: Samples = {
    "dimensions": [Sent(4, {"dimensions": 4})],
    "encoding_format": [
        Answered("base64", lambda response: isinstance(response.json()["data"][0]["embedding"], str)),
        Answered("float", lambda response: isinstance(response.json()["data"][0]["embedding"], list)),
    ],
    "input": [Sent(["x", "y"], {"input": ["x", "y"]}), Refused([1, 2])],
    "model": [Sent("ada", {"model": "ada:latest"})],
    "user": [Ignored("ada")],
}

_OLLAMA: Samples = {
    "format": [Sent("json", {"format": "json"}), Sent(_SCHEMA, {"format": _SCHEMA})],
    "keep_alive": [Ignored("10m"), Ignored(0)],
    "logprobs": [Refused(True), Ignored(False)],
    "model": [Sent("ada", {"model": "ada:latest"})],
    "options": [Sent({"seed": 0}, {"options": {"seed": 0}})],
    "shift": [Sent(False, {"shift": False})],
    "stream": [Answered(False, lambda response: response.json()["done"])],
    "think": [Sent(False, {"think": False}), Sent("high", {"think": "high"})],
    "top_logprobs": [Ignored(3)],
    "truncate": [Sent(False, {"truncate": False})],
}

OLLAMA_CHAT: Samples = {
    **_OLLAMA,
    "messages": [Sent(QUESTION, {"messages": QUESTION})],
    "tools": [Sent(_TOOLS, {"tools": _TOOLS})],
}

OLLAMA_MESSAGES: Samples = {
    "role": [Sent(says({"role": "control", "content": "x"}), {"messages.0.role": "control"})],
    "content": [Sent(says({"role": "system", "content": "x"}), {"messages.0.content": "x"})],
    "thinking": [Sent(says({"role": "assistant", "thinking": "hm"}), {"messages.0.thinking": "hm"})],
    "images": [Sent([{"role": "user", "content": PROMPT, "images": [IMAGE]}], {"messages.0.images": [IMAGE]})],
    "tool_calls": [
        Sent(
            says(
                {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"b": 1, "a": 2}}}]}
            ),
            {"messages.0.tool_calls.0.function": {"name": "weather", "arguments": {"b": 1, "a": 2}}},
        )
    ],
    "tool_name": [
        Sent(says({"role": "tool", "tool_name": "weather", "content": "sunny"}), {"messages.0.tool_name": "weather"})
    ],
    "tool_call_id": [
        Sent(says({"role": "tool", "tool_call_id": "1", "content": "sunny"}), {"messages.0.tool_call_id": "1"})
    ],
}

OLLAMA_GENERATE: Samples = {
    **_OLLAMA,
    "context": [Sent([1, 2], {"context": [1, 2]})],
    "height": [Ignored(64)],
    "images": [Sent([IMAGE], {"images": [IMAGE]})],
    "prompt": [Sent("x", {"prompt": "x"})],
    "raw": [Sent(True, {"raw": True})],
    "steps": [Ignored(4)],
    "suffix": [Sent("x", {"suffix": "x"})],
    "system": [Sent("x", {"system": "x"})],
    "template": [Sent("x", {"template": "x"})],
    "width": [Ignored(64)],
}

OLLAMA_EMBED: Samples = {
    "dimensions": [Sent(4, {"dimensions": 4})],
    "input": [Sent(["x", "y"], {"input": ["x", "y"]})],
    "keep_alive": [Ignored("10m")],
    "model": [Sent("ada", {"model": "ada:latest"})],
    "options": [Sent({"num_ctx": 512}, {"options.num_ctx": 512})],
    "truncate": [Sent(False, {"truncate": False})],
}

OLLAMA_EMBEDDINGS: Samples = {
    "keep_alive": [Ignored("10m")],
    "model": [Sent("ada", {"model": "ada:latest"})],
    "options": [Sent({"num_ctx": 512}, {"options.num_ctx": 512})],
    "prompt": [Sent("x", {"input": "x"})],
}

OLLAMA_OPTIONS: Samples = {
    "frequency_penalty": [_option("frequency_penalty", 0.5)],
    "min_p": [_option("min_p", 0.5)],
    "num_ctx": [_option("num_ctx", 512)],
    "num_keep": [_option("num_keep", 4)],
    "num_predict": [_option("num_predict", 7)],
    "presence_penalty": [_option("presence_penalty", 0.5)],
    "repeat_last_n": [_option("repeat_last_n", 0)],
    "repeat_penalty": [_option("repeat_penalty", 1.5)],
    "seed": [_option("seed", 0)],
    "stop": [_option("stop", ["x"])],
    "temperature": [_option("temperature", 0)],
    "top_k": [_option("top_k", 1)],
    "top_p": [_option("top_p", 0.5)],
    "typical_p": [_option("typical_p", 0.5)],
    **{
        name: [Ignored(1)]
        for name in (
            *(
                "embedding_only",
                "f16_kv",
                "logits_all",
                "low_vram",
                "main_gpu",
                "mirostat",
                "mirostat_eta",
                "mirostat_tau",
            ),
            *("num_batch", "num_gpu", "num_thread", "numa", "penalize_newline", "tfs_z", "use_mlock", "use_mmap"),
            "vocab_only",
        )
    },
}
