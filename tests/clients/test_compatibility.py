"""`docs/compatibility.md` is complete, and true: every row is tried."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.clients import known_to_clients, known_to_javascript, samples
from tests.clients.compatibility_page import tables
from tests.clients.double import RemoteDouble
from tests.clients.offer import Offer
from tests.clients.questions import PROMPT
from tests.clients.samples import ABSENT, Answered, Ignored, Refused, Sample, Sent
from tests.ollama_double import Answer

pytestmark = pytest.mark.client("docs/compatibility.md")

MODEL = "ada:latest"
HANG_S = 30.0
CHAT, COMPLETIONS = "POST /openai/v1/chat/completions", "POST /openai/v1/completions"
OLLAMA_CHAT = "POST /ollama/api/chat"

# What is sent beside the parameter that is tried, and the samples, under each heading.
TRIED: dict[str, tuple[Mapping[str, Any], samples.Samples]] = {
    CHAT: ({"messages": samples.QUESTION}, samples.OPENAI_CHAT),
    "messages": ({}, samples.OPENAI_MESSAGES),
    COMPLETIONS: ({"prompt": PROMPT}, samples.OPENAI_COMPLETIONS),
    "POST /openai/v1/embeddings": ({"input": "one"}, samples.OPENAI_EMBEDDINGS),
    OLLAMA_CHAT: ({"messages": samples.QUESTION}, samples.OLLAMA_CHAT),
    "messages of Ollama": ({}, samples.OLLAMA_MESSAGES),
    "options": ({"messages": samples.QUESTION, "options": {}}, samples.OLLAMA_OPTIONS),
    "POST /ollama/api/generate": ({"prompt": PROMPT}, samples.OLLAMA_GENERATE),
    "POST /ollama/api/embed": ({"input": "one"}, samples.OLLAMA_EMBED),
    "POST /ollama/api/embeddings": ({"prompt": "one"}, samples.OLLAMA_EMBEDDINGS),
}
# Parts of a request of their own, with the parameter that they stand in.
WITHIN = {"messages": CHAT, "messages of Ollama": OLLAMA_CHAT, "options": OLLAMA_CHAT}

# What the clients cannot say, but their protocols can, or what others add to them.
BEYOND = {
    CHAT: {"reasoning"},  # OpenRouter's clients
    OLLAMA_CHAT: {"shift", "truncate"},  # Ollama's api/types.go
    "POST /ollama/api/generate": {"shift", "truncate"},
    "messages of Ollama": {"tool_call_id"},
    "options": {"min_p"},
}
BEYOND_PATHS = {
    ("GET", "/"),
    ("GET", "/api/version"),
    ("HEAD", "/"),
    ("HEAD", "/api/blobs/{digest}"),
    ("HEAD", "/api/tags"),
    ("HEAD", "/api/version"),
}

EVERY_SAMPLE = [
    pytest.param(heading, name, sample, id=f"{heading.removeprefix('POST ')}-{name}-{index}")
    for heading, (_, of_heading) in TRIED.items()
    for name, several in of_heading.items()
    for index, sample in enumerate(several)
]


@pytest.fixture(scope="module")
def http(offer: Offer) -> httpx.Client:
    """Somebody with an API key."""
    headers = {"Authorization": f"Bearer {offer.api_key}"}
    return httpx.Client(base_url=offer.url, headers=headers, timeout=HANG_S, trust_env=False)


@pytest.mark.parametrize("heading", TRIED)
def test_the_rows_are_what_the_clients_know(heading: str) -> None:
    assert set(tables()[heading]) == known_to_clients.parameters()[heading] | BEYOND.get(heading, set())


@pytest.mark.parametrize(("heading", "known"), known_to_javascript.parameters().items())
def test_clients_in_javascript_know_no_more(heading: str, known: set[str]) -> None:
    assert known <= set(tables()[heading])


@pytest.mark.parametrize("heading", TRIED)
def test_every_row_is_tried(heading: str) -> None:
    assert tables()[heading] == {name: several[0].status for name, several in TRIED[heading][1].items()}


@pytest.mark.parametrize(("heading", "name", "sample"), EVERY_SAMPLE)
def test_it_is_as_the_row_says(
    http: httpx.Client, double: RemoteDouble, heading: str, name: str, sample: Sample
) -> None:
    question = {"model": MODEL, **TRIED[heading][0], **sample.beside}
    double.script(MODEL, Answer(("Hello",)))
    method, _, path = WITHIN.get(heading, heading).partition(" ")

    def ask(body: Mapping[str, Any]) -> httpx.Response:
        return http.request(method, path, json=body)

    response = ask(question | _parameter(heading, name, sample.value))
    match sample:
        case Refused():
            assert response.status_code == 400
            assert re.search(rf"\b{re.escape(_short(heading, name))}\b", response.text), response.text
            assert double.asked() == []
        case Answered(shows=shows):
            assert response.status_code == 200, response.text
            assert shows(response), response.text
        case Sent(got=got):
            assert response.status_code == 200, response.text
            request = double.asked()[0].request
            assert {path: _at(request, path) for path in got} == got
        case Ignored():
            assert response.status_code == 200, response.text
            assert ask(question).status_code == 200
            with_it, without_it = double.asked()
            assert with_it.request == without_it.request


@pytest.mark.parametrize("protocol", ["openai", "ollama"])
def test_every_path_is_listed(protocol: str) -> None:
    assert {row for row, _ in _paths(protocol)} == set(tables()[f"Paths below /{protocol}"])


@pytest.mark.parametrize("protocol", ["openai", "ollama"])
def test_what_is_there_answers_and_what_is_not_says_so(http: httpx.Client, protocol: str) -> None:
    """What is there finds fault with an empty body, or answers; nothing else does."""
    rows = tables()[f"Paths below /{protocol}"]
    for row, (method, path) in _paths(protocol):
        response = http.request(method, re.sub(r"\{(\w+)\}", MODEL, path), json={})
        there = response.status_code in {200, 400}
        assert there == (rows[row] == "supported"), f"{method} {path}: {response.status_code} {response.text}"
        assert there or response.status_code in {403, 404, 405}
        assert method == "HEAD" or response.status_code == 200 or response.json()["error"]


def _parameter(heading: str, name: str, value: object) -> dict[str, Any]:
    match heading:
        case "messages" | "messages of Ollama":
            return {"messages": value}
        case "options":
            return {"options": {name: value}}
        case _:
            return {name: value}


def _short(heading: str, name: str) -> str:
    return "messages" if heading == "messages" else name


def _at(value: Any, path: str) -> Any:  # noqa: ANN401  JSON
    for step in path.split("."):
        if isinstance(value, list):
            value = value[int(step)]
        elif step in value:
            value = value[step]
        else:
            return ABSENT
    return value


def _paths(protocol: str) -> list[tuple[str, tuple[str, str]]]:
    """Return every path that the clients call, with the row it belongs to: its own, or that of all that begin so."""
    known = {
        "openai": known_to_clients.openai_paths() | known_to_javascript.openai_paths(),
        "ollama": known_to_clients.ollama_paths() | BEYOND_PATHS,
    }[protocol]
    prefix = "/openai/v1" if protocol == "openai" else "/ollama"
    rows = tables()[f"Paths below /{protocol}"]
    found: list[tuple[str, tuple[str, str]]] = []
    for method, path in sorted(known):
        own, shared = f"{method} {prefix}{path}", f"{prefix}/{path.split('/')[1]}/…"
        found.append((shared if shared in rows else own, (method, f"{prefix}{path}")))
    return found
