"""`GET /v1/models` is what live workers have; anything else is refused at once, with a hint."""

import httpx
import pytest

from tests.end_to_end.client import chat
from tests.end_to_end.stack import MODELS, SLOTS, Stack
from tests.ollama_double import Answer, Hang, OllamaDouble


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


@pytest.mark.parametrize("name", ["ada", "library/ada", "registry.ollama.ai/library/ada:latest"])
async def test_a_name_without_a_tag_means_latest_and_ollamas_own_registry_may_be_named(stack: Stack, name: str) -> None:
    assert MODELS[0] == "ada:latest"
    stack.double.script("ada:latest", Answer(("text",)))

    response = await (await stack.client()).chat(name)

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


async def test_how_things_stand_with_a_model_that_nobody_asks(stack: Stack) -> None:
    await stack.add_worker(await stack.add_double(OllamaDouble(["hf.co/some/model:q4"])), worker_slots=2)
    await stack.until_served("hf.co/some/model:q4")

    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        answers = [
            await http.get(f"/v1/models/{name}") for name in ("hf.co/some/model:q4", "hf.co%2Fsome%2Fmodel%3Aq4")
        ]

    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "model": "hf.co/some/model:q4",
            "workers": [{"loaded": False, "slots": 2}],
            "slots": 2,
            "running": 0,
            "queue_depth": 0,
            "estimated_wait_ms": 0,
        }


async def test_how_things_stand_with_a_model_that_many_ask(stack: Stack) -> None:
    client, model = await stack.client(), stack.model(Answer(("text", Hang("state"))))
    jobs = [await client.chat(model, headers={"Prefer": "respond-async"}) for _ in range(SLOTS + 2)]
    await stack.until_double(model, *["active"] * SLOTS)

    state = (await client.http.get(f"/v1/models/{model}")).json()

    assert (state["slots"], state["running"], state["queue_depth"]) == (SLOTS, SLOTS, 2)
    assert state["estimated_wait_ms"] > 0
    for job in jobs:
        await client.cancel(job.json()["id"])
    stack.double.release("state")


@pytest.mark.parametrize("name", ["adda", "ADA:latest", "ada/latest"])
async def test_nothing_stands_with_a_model_that_there_is_not(stack: Stack, name: str) -> None:
    client = await stack.client()
    program = await stack.program(client, models=["bell:latest"])

    unknown = await client.http.get(f"/v1/models/{name}")
    hidden = await program.http.get("/v1/models/ada")

    for answer in (unknown, hidden):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"
    assert "bell" not in hidden.json()["error"]["message"]
