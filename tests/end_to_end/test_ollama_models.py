"""`/ollama/api/tags`, `ps`, `show` and `version` say what the workers' Ollamas say, as if there were one of them."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from infra.local.demo_model import digest_of
from tests.end_to_end.stack import MODELS, Stack
from tests.ollama_double import Answer, OllamaDouble
from tests.waiting import wait_until

DETAILS = {
    "parent_model": "",
    "format": "demo",
    "family": "demo",
    "families": ["demo"],
    "parameter_size": "0",
    "quantization_level": "none",
}
CAPABILITIES = ["completion", "embedding", "thinking", "tools", "vision"]


async def get(stack: Stack, path: str) -> Any:  # noqa: ANN401  any JSON
    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        response = await http.get(f"/ollama/api/{path}")
    assert response.status_code == 200, response.text
    return response.json()


async def show(stack: Stack, body: object, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        return await http.post("/ollama/api/show", json=body, headers=headers)


async def test_tags_are_those_of_all_workers_the_latest_first(stack: Stack) -> None:
    older, newer = OllamaDouble(["zeta", "ada"]), OllamaDouble(["zeta", "theta:1b"])
    older.modified_at = datetime(2020, 1, 1, tzinfo=UTC)
    newer.modified_at = datetime(2099, 1, 1, tzinfo=UTC)
    for double in (older, newer):
        await stack.add_worker(await stack.add_double(double))
    await stack.until_served("zeta:latest", "theta:1b")

    async def models() -> list[dict[str, Any]]:
        models = (await get(stack, "tags"))["models"]
        return models if models[0]["name"] == "theta:1b" else []

    listed = await wait_until(models, description="both have announced themselves")

    assert [model["name"] for model in listed] == ["theta:1b", "zeta:latest", *sorted(MODELS)]
    assert listed[1] == {
        "name": "zeta:latest",
        "model": "zeta:latest",
        "modified_at": "2099-01-01T00:00:00.000000Z",
        "size": 0,
        "digest": digest_of("zeta:latest"),
        "details": DETAILS,
        "capabilities": CAPABILITIES,
    }


async def test_a_model_that_is_loaded_is_in_ps_once(stack: Stack) -> None:
    for _ in range(2):
        double = await stack.add_double(OllamaDouble(["zeta"]))
        async with httpx.AsyncClient() as http:
            await http.post(f"{double.url}/api/generate", json={"model": "zeta"})
        await stack.add_worker(double)
    await stack.until_served("zeta:latest")

    async def loaded() -> list[dict[str, Any]]:
        return [model for model in (await get(stack, "ps"))["models"] if model["name"] == "zeta:latest"]

    (model,) = await wait_until(loaded, description="the model is loaded")

    until = datetime.fromisoformat(model.pop("expires_at"))
    assert until > datetime.now(UTC)
    assert model == {
        "name": "zeta:latest",
        "model": "zeta:latest",
        "size": 0,
        "digest": digest_of("zeta:latest"),
        "details": DETAILS,
        "size_vram": 0,
        "context_length": 4096,
    }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"model": "ada"}, id="model"),
        pytest.param({"name": "ada:latest"}, id="the older name"),
        pytest.param({"model": "ada", "name": "", "system": "", "options": None, "verbose": True}, id="as Go sends it"),
    ],
)
async def test_a_model_is_shown_as_its_ollama_shows_it(stack: Stack, body: dict[str, object]) -> None:
    async def shown() -> dict[str, Any]:
        response = await show(stack, body)
        assert response.status_code == 200, response.text
        return response.json() if "template" in response.json() else {}

    description = await wait_until(shown, description="a worker has described the model")

    async with httpx.AsyncClient() as http:
        own = (await http.post(f"{stack.double.url}/api/show", json={"model": "ada"})).json()
    assert description == own | {"modelfile": f"FROM sha256-{digest_of('ada:latest')}\n"}
    assert description["model_info"]["demo.context_length"] == 4096


async def test_a_model_that_nobody_has_described_yet_is_shown_as_lists_have_it(stack: Stack) -> None:
    await stack.redis.delete(f"ds:model:{digest_of('ada:latest')}")

    response = await show(stack, {"model": "ada"})

    assert response.status_code == 200
    described = response.json()
    modified_at = datetime.fromisoformat(described.pop("modified_at"))
    assert modified_at == stack.double.modified_at
    assert described == {"details": DETAILS, "model_info": {}, "capabilities": CAPABILITIES}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param({"model": "adda"}, 404, "Model 'adda' not found. Did you mean ada:latest?", id="no model"),
        pytest.param({"model": "adda:7b"}, 404, "Model 'adda:7b' not found.", id="no model of the tag"),
        pytest.param({}, 400, "model is required", id="nothing"),
        pytest.param({"model": ""}, 400, "model is required", id="an empty name"),
    ],
)
async def test_what_cannot_be_shown_is_told_as_ollama_tells_it(
    stack: Stack, body: dict[str, object], status: int, message: str
) -> None:
    response = await show(stack, body)

    assert response.status_code == status
    assert response.json().keys() == {"error"}
    assert response.json()["error"].startswith(message) or message in response.json()["error"]


async def test_a_key_for_some_models_sees_those_only(stack: Stack) -> None:
    program = await stack.program(await stack.client(), models=["bell:latest"])
    for model in ("ada:latest", "bell:latest"):
        stack.double.script(model, Answer(("text",)))
        await (await stack.client()).chat(model)

    async def loaded() -> list[str]:
        return [model["name"] for model in (await program.http.get("/ollama/api/ps")).json()["models"]]

    assert await wait_until(loaded, description="one is loaded") == ["bell:latest"]
    tags = (await program.http.get("/ollama/api/tags")).json()["models"]
    assert [model["name"] for model in tags] == ["bell:latest"]
    assert (await program.http.post("/ollama/api/show", json={"model": "bell"})).status_code == 200
    assert (await program.http.post("/ollama/api/show", json={"model": "ada"})).status_code == 404


async def test_the_version_is_that_of_the_workers(stack: Stack) -> None:
    assert await get(stack, "version") == {"version": "0.0.0-demo"}


async def test_any_content_type_will_do(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        response = await http.post("/ollama/api/show", content=b'{"model":"ada"}', headers={"Content-Type": "text/x"})

    assert response.status_code == 200


@pytest.mark.parametrize("path", ["tags", "ps", "version"])
async def test_probes_may_ask_for_heads_alone(stack: Stack, path: str) -> None:
    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        response = await http.head(f"/ollama/api/{path}")

    assert (response.status_code, response.content) == (200, b"")
