"""`/openai/v1/models` is what OpenAI's clients list and look up: slashes, tags and all, and errors in their form."""

from datetime import UTC, datetime

import httpx
import pytest

from tests.end_to_end.stack import MODELS, Stack
from tests.ollama_double import OllamaDouble

NAMES = ("hf.co/some/model:q4", "namespace/model:latest")


async def add_names(stack: Stack) -> None:
    double = OllamaDouble(NAMES)
    double.modified_at = datetime(2025, 5, 10, 8, 6, 48, 639712, tzinfo=UTC)
    await stack.add_worker(await stack.add_double(double))
    await stack.until_served(*NAMES)


def refusal(response: httpx.Response) -> tuple[int, str, str, str]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["type"], error["param"]


async def test_models_are_listed_as_openai_does(stack: Stack) -> None:
    await add_names(stack)

    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        response = await http.get("/openai/v1/models")

    assert response.status_code == 200
    listed = response.json()
    assert listed.keys() == {"object", "data"}
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == sorted([*MODELS, *NAMES])
    assert listed["data"][-2:] == [
        {"id": "hf.co/some/model:q4", "object": "model", "created": 1746864408, "owned_by": "some"},
        {"id": "namespace/model:latest", "object": "model", "created": 1746864408, "owned_by": "namespace"},
    ]
    assert {model["owned_by"] for model in listed["data"][:-2]} == {"library"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param("hf.co/some/model:q4", "hf.co/some/model:q4", id="with slashes"),
        pytest.param("hf.co%2Fsome%2Fmodel%3Aq4", "hf.co/some/model:q4", id="escaped, as OpenAI's clients do"),
        pytest.param("hf.co%2fsome/model:q4", "hf.co/some/model:q4", id="half escaped, in small letters"),
        pytest.param("namespace/model", "namespace/model:latest", id="without latest"),
        pytest.param("ada", "ada:latest", id="without anything"),
        pytest.param("registry.ollama.ai/library/ada", "ada:latest", id="with all that Ollama leaves out"),
    ],
)
async def test_a_model_is_looked_up_by_its_name(stack: Stack, path: str, name: str) -> None:
    await add_names(stack)

    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        response = await http.get(f"/openai/v1/models/{path}")

    assert response.status_code == 200, response.text
    assert response.json()["id"] == name
    assert response.json().keys() == {"id", "object", "created", "owned_by"}


@pytest.mark.parametrize("name", ["adda", "hf.co/some/model", "curie", "ADA", "models/ada"])
async def test_a_model_that_there_is_not_is_not_found(stack: Stack, name: str) -> None:
    client = await stack.client()

    response = await client.http.get(f"/openai/v1/models/{name}")

    assert refusal(response) == (404, "model_not_found", "invalid_request_error", "model")
    assert name in response.json()["error"]["message"]


async def test_a_key_for_some_models_sees_those_only(stack: Stack) -> None:
    program = await stack.program(await stack.client(), models=["bell:latest"])

    listed = (await program.http.get("/openai/v1/models")).json()["data"]
    found = await program.http.get("/openai/v1/models/bell")
    hidden = await program.http.get("/openai/v1/models/ada:latest")

    assert [model["id"] for model in listed] == ["bell:latest"]
    assert found.status_code == 200
    assert refusal(hidden) == (404, "model_not_found", "invalid_request_error", "model")
    unknown = await program.http.get("/openai/v1/models/0xf00:latest")
    assert hidden.json()["error"]["message"].replace("ada", "0xf00") == unknown.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/openai/v1/models", "/openai/v1/models/ada"])
async def test_a_token_that_is_not_good_is_refused(stack: Stack, path: str) -> None:
    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        response = await http.get(path, headers={"Authorization": "Bearer sk-ds-no"})

    assert response.status_code == 401
    assert response.json()["error"]["code"] == "unauthenticated"
