"""What the pinned official clients know of their protocols: every parameter, and every path."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import ollama
import openai
from ollama import _types as requests
from openai.types import chat, completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params
from pydantic import BaseModel

Path_ = tuple[str, str]  # a method, and a path below the address that is changed

_OPENAI_CALL = re.compile(r'self\._(post|get_api_list|get|delete)\(\s*(?:path_template\(\s*)?f?"(/[^"?]*)')
_OLLAMA_CALL = re.compile(r"'(GET|POST|DELETE|HEAD)',\s*f?'(/[^']*)'")


def parameters() -> dict[str, set[str]]:
    """Return the names of parameters by the heading under which `docs/compatibility.md` lists them."""
    return {
        "POST /openai/v1/chat/completions": _keys(chat_create_params.CompletionCreateParamsStreaming),
        "messages": {
            *(f"role `{role}`" for role in _tags(get_args(chat.ChatCompletionMessageParam), "role")),
            *(f"part `{part}`" for part in _tags(get_args(chat.ChatCompletionContentPartParam), "type")),
        },
        "POST /openai/v1/completions": _keys(completion_create_params.CompletionCreateParamsStreaming),
        "POST /openai/v1/embeddings": _keys(embedding_create_params.EmbeddingCreateParams),
        "POST /ollama/api/chat": _fields(requests.ChatRequest),
        "messages of Ollama": _fields(ollama.Message),
        "POST /ollama/api/generate": _fields(requests.GenerateRequest),
        "POST /ollama/api/embed": _fields(requests.EmbedRequest),
        "POST /ollama/api/embeddings": _fields(requests.EmbeddingsRequest),
        "options": _fields(ollama.Options),
    }


def openai_paths() -> set[Path_]:
    """Return what OpenAI's client calls."""
    sources = (Path(openai.__file__).parent / "resources").rglob("*.py")
    return {("GET" if verb == "get_api_list" else verb.upper(), path) for verb, path in _found(_OPENAI_CALL, sources)}


def ollama_paths() -> set[Path_]:
    """Return what Ollama's client calls at its host."""
    return {(verb, path) for verb, path in _found(_OLLAMA_CALL, [Path(ollama.__file__).with_name("_client.py")])}


def _keys(request: type[Any]) -> set[str]:
    return set(get_type_hints(request))


def _fields(request: type[BaseModel]) -> set[str]:
    return set(request.model_fields)


def _tags(kinds: Iterable[type[Any]], field: str) -> set[str]:
    return {get_args(get_type_hints(kind)[field])[0] for kind in kinds}


def _found(pattern: re.Pattern[str], sources: Iterable[Path]) -> set[tuple[str, str]]:
    return {(verb, path) for source in sources for verb, path in pattern.findall(source.read_text())}
