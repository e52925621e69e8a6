"""`GET /v1/models` is what live workers have; anything else is refused at once, with a hint."""

import httpx
import pytest

from tests.end_to_end.client import chat
from tests.end_to_end.stack import MODELS, Stack
from tests.ollama_double import Answer, OllamaDouble


async def test_anybody_may_see_what_live_workers_have_between_them(stack: Stack) -> None:
    await stack.add_worker(await stack.add_double(OllamaDouble(["zeta", "alpha:1b", MODELS[0]])))
    await stack.until_served("zeta:latest", "alpha:1b")

    async with httpx.AsyncClient() as http:
        response = await http.get(f"{stack.gateways[0].url}/v1/models")

    assert response.status_code == 200
    assert response.json() == sorted([*MODELS, "zeta:latest", "alpha:1b"])


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/stream"])
async def test_a_model_that_nobody_has(stack: Stack, path: str) -> None:
    client = await stack.client()

    response = await client.http.post(path, json=chat("adda:latest"))

    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["code"], error["type"], error["param"]) == ("model_not_found", "invalid_request_error", "model")
    assert "ada:latest" in error["message"]
    assert not await stack.redis.exists("arq:queue:adda:latest")


async def test_a_model_that_is_like_no_other(stack: Stack) -> None:
    response = await (await stack.client()).chat("0xf00")

    assert response.status_code == 404
    assert not any(model in response.json()["error"]["message"] for model in MODELS)


async def test_a_name_without_a_tag_means_latest(stack: Stack) -> None:
    assert MODELS[0] == "ada:latest"
    stack.double.script("ada:latest", Answer(("text",)))

    response = await (await stack.client()).chat("ada")

    assert {chunk["model"] for chunk in response.json()} == {"ada:latest"}
    assert len(stack.generations("ada:latest")) == 1


@pytest.mark.parametrize("name", ["curie", "curie:latest", "CURIE:7B", "ada:late", "ada:"])
async def test_a_name_that_is_almost_right_is_wrong(stack: Stack, name: str) -> None:
    response = await (await stack.client()).chat(name)

    assert response.status_code == 404


async def test_an_ollama_that_goes_away_and_comes_back_with_other_models(stack: Stack) -> None:
    double = await stack.add_double(OllamaDouble(["old"]))
    port = int(double.url.rpartition(":")[2])
    await stack.add_worker(double)
    await stack.until_served("old:latest")

    await double.stop()
    await stack.until_served()
    double.models[:] = ["new:latest"]
    await double.start(port)

    await stack.until_served("new:latest")
    assert (await (await stack.client()).chat("new")).status_code == 200
