"""What the pinned official clients in JavaScript know of their protocols, as their declarations say."""

import re
from collections.abc import Mapping
from pathlib import Path

_MODULES = Path(__file__).parent / "javascript" / "node_modules"
_OPENAI, _OLLAMA = _MODULES / "openai" / "resources", _MODULES / "ollama" / "dist" / "browser.d.ts"
_CALL = re.compile(r"_client\s*\.(getAPIList|get|post|put|patch|delete)\((?:path )?['`](/[^'`?]*)")
_PLACE = re.compile(r"\$\{(\w+)\}")
_FIELD = re.compile(r"^ {4}(\w+)\??:", re.MULTILINE)  # nothing that stands deeper

_DECLARED: Mapping[str, tuple[Path, str]] = {
    "POST /openai/v1/chat/completions": (
        _OPENAI / "chat" / "completions" / "completions.d.ts",
        "ChatCompletionCreateParamsBase",
    ),
    "POST /openai/v1/completions": (_OPENAI / "completions.d.ts", "CompletionCreateParamsBase"),
    "POST /openai/v1/embeddings": (_OPENAI / "embeddings.d.ts", "EmbeddingCreateParams"),
    "POST /ollama/api/chat": (_OLLAMA, "ChatRequest"),
    "POST /ollama/api/generate": (_OLLAMA, "GenerateRequest"),
    "POST /ollama/api/embed": (_OLLAMA, "EmbedRequest"),
    "POST /ollama/api/embeddings": (_OLLAMA, "EmbeddingsRequest"),
    "options": (_OLLAMA, "Options"),
}


def parameters() -> dict[str, set[str]]:
    """Return the names of parameters by the heading under which `docs/compatibility.md` lists them."""
    return {heading: _fields(*declared) for heading, declared in _DECLARED.items()}


def openai_paths() -> set[tuple[str, str]]:
    """Return what OpenAI's client calls: a method, and a path below the address that is changed."""
    calls = {call for source in _OPENAI.rglob("*.mjs") for call in _CALL.findall(source.read_text())}
    return {("GET" if verb == "getAPIList" else verb.upper(), _PLACE.sub(_in_braces, path)) for verb, path in calls}


def _in_braces(place: re.Match[str]) -> str:
    return "{" + re.sub(r"(?<=[a-z])[A-Z]+", lambda word: f"_{word[0]}".lower(), place[1]) + "}"


def _fields(file: Path, interface: str) -> set[str]:
    declaration = re.search(
        rf"^(?:export )?interface {interface} {{\n(.*?)^}}", file.read_text(), re.DOTALL | re.MULTILINE
    )
    assert declaration is not None, f"{file} declares no {interface}"
    return set(_FIELD.findall(declaration[1]))
