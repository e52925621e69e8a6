"""Embeddings by each of the three calls: the model's own numbers, by the way of every job."""

import asyncio
import struct
from base64 import b64decode
from typing import Any

import httpx
import pytest

from infra.local.demo_model import embedding_of
from tests.end_to_end.client import CANARY, Client
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, End, Fail, Hang, Raw

NUMBERS = "[[0.010071029,-1.7e-05,1],[0.0,-0.5,12345678]]"  # as Ollama writes float32
TEXT = f"{CANARY} of four words"
CALLS = {
    "/openai/v1/embeddings": {"input": TEXT},
    "/ollama/api/embed": {"input": TEXT},
    "/ollama/api/embeddings": {"prompt": TEXT},
}

every_call = pytest.mark.parametrize(("path", "fields"), CALLS.items(), ids=CALLS)


async def post(client: Client, path: str, model: str, **fields: object) -> httpx.Response:
    return await client.http.post(path, json={"model": model, **fields})


def message_of(response: httpx.Response) -> str:
    error = response.json()["error"]
    return error if isinstance(error, str) else error["message"]


async def test_openai_gets_one_for_each_text_in_their_order(stack: Stack) -> None:
    texts = [f"{CANARY} {number}" for number in range(3)]
    model = stack.model(Answer())

    response = await post(await stack.client(), "/openai/v1/embeddings", model, input=texts, user="ada")

    assert response.status_code == 200, response.text
    assert response.json() == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": embedding_of(text)} for index, text in enumerate(texts)
        ],
        "model": model,
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }
    assert response.headers["X-Job-Id"]
    (generation,) = stack.generations(model)
    assert generation.path == "/api/embed"
    assert generation.request == {"model": model, "input": texts, "truncate": False}


@every_call
async def test_numbers_come_as_ollama_wrote_them(stack: Stack, path: str, fields: dict[str, Any]) -> None:
    model = stack.model(Answer((Raw(b'{"model":"m","embeddings":%b}' % NUMBERS.encode()), End())))

    response = await post(await stack.client(), path, model, **fields)

    assert "[0.010071029,-1.7e-05,1]" in response.text
    assert ("[0.0,-0.5,12345678]" in response.text) == (path != "/ollama/api/embeddings")


async def test_base64_is_the_same_in_float32(stack: Stack) -> None:
    model, client = stack.model(Answer()), await stack.client()

    texts = (await post(client, "/openai/v1/embeddings", model, input=[TEXT])).json()["data"][0]["embedding"]
    bytes_ = (await post(client, "/openai/v1/embeddings", model, input=[TEXT], encoding_format="base64")).json()

    packed = b64decode(bytes_["data"][0]["embedding"])
    assert packed == struct.pack(f"<{len(texts)}f", *texts)


async def test_ollama_gets_durations_and_its_model_what_was_asked(stack: Stack) -> None:
    model = stack.model(Answer((Raw(b'{"model":"m","embeddings":[[1]],"load_duration":5000000}'), End())))

    response = await post(
        await stack.client(),
        "/ollama/api/embed",
        model,
        input=[TEXT, ""],
        truncate=False,
        dimensions=8,
        keep_alive=0,
        options={"num_ctx": 512, "num_gpu": 1},
    )

    answer = response.json()
    assert answer.keys() == {"model", "embeddings", "total_duration", "load_duration"}
    assert (answer["model"], answer["embeddings"], answer["load_duration"]) == (model, [[1]], 5_000_000)
    (generation,) = stack.generations(model)
    assert generation.request == {
        "model": model,
        "input": [TEXT, ""],
        "truncate": False,
        "dimensions": 8,
        "options": {"num_ctx": 512},
    }


async def test_the_older_call_gives_one(stack: Stack) -> None:
    model = stack.model(Answer())

    response = await post(await stack.client(), "/ollama/api/embeddings", model, prompt=TEXT)

    assert response.json() == {"embedding": embedding_of(TEXT)}


@pytest.mark.parametrize(
    ("path", "answer"), [("/ollama/api/embed", "embeddings"), ("/ollama/api/embeddings", "embedding")]
)
async def test_ollama_is_asked_for_nothing_to_load_the_model(stack: Stack, path: str, answer: str) -> None:
    model = stack.model(Answer())

    response = await post(await stack.client(), path, model)

    assert response.status_code == 200
    assert response.json()[answer] == []
    assert len(stack.generations(model)) == 1


async def test_a_name_without_a_tag_comes_back_as_it_was_sent(stack: Stack) -> None:
    stack.double.script("ada:latest", Answer())

    for path in ("/openai/v1/embeddings", "/ollama/api/embed"):
        assert (await post(await stack.client(), path, "ada", input=TEXT)).json()["model"] == "ada"


@every_call
async def test_what_ollama_refuses_is_the_clients_fault(stack: Stack, path: str, fields: dict[str, Any]) -> None:
    model = stack.model(Answer((Fail("the input length exceeds the context length", status=400),)))

    response = await post(await stack.client(), path, model, **fields)

    assert response.status_code == 400
    assert "the input length exceeds the context length" in message_of(response)
    if path.startswith("/openai"):
        assert response.json()["error"]["code"] == "context_length_exceeded"


@every_call
async def test_more_than_an_answer_may_be_is_refused_with_advice(
    stack: Stack, path: str, fields: dict[str, Any]
) -> None:
    many = b"[" + b"0.5," * 1_100_000 + b"1]"  # more than the 4 MiB of MAX_ANSWER_BYTES
    model = stack.model(Answer((Raw(b'{"model":"m","embeddings":[%b]}' % many), End())))

    response = await post(await stack.client(), path, model, **fields)

    assert response.status_code == 400
    assert "send fewer texts at once" in message_of(response)


@every_call
async def test_what_fails_is_tried_again(stack: Stack, path: str, fields: dict[str, Any]) -> None:
    model = stack.model(Answer((Fail("out of luck", status=500),)), Answer())

    response = await post(await stack.client(), path, model, **fields)

    assert response.status_code == 200, response.text
    assert len(stack.generations(model)) == 2


@every_call
async def test_a_model_or_a_key_that_does_not_fit(stack: Stack, path: str, fields: dict[str, Any]) -> None:
    client = await stack.client()
    program = await stack.program(client, models=["bell:latest"])

    unknown = await post(client, path, "adda", **fields)
    forbidden = await post(program, path, "ada", **fields)
    async with httpx.AsyncClient(base_url=stack.gateways[0].url) as http:
        nobody = await http.post(path, json={"model": "ada", **fields})

    assert [answer.status_code for answer in (unknown, forbidden, nobody)] == [404, 403, 401]
    assert "ada:latest" in message_of(unknown)


@every_call
async def test_a_client_that_leaves_frees_the_model(stack: Stack, path: str, fields: dict[str, Any]) -> None:
    model, client = stack.model(Answer((Hang(),))), await stack.client()
    request = asyncio.create_task(post(client, path, model, **fields))
    await stack.until_double(model, "active")

    request.cancel()

    await stack.until_double(model, "aborted")


@every_call
async def test_the_same_key_gets_the_same_embedding_once(stack: Stack, path: str, fields: dict[str, Any]) -> None:
    model, client = stack.model(Answer()), await stack.client()
    headers = {"Idempotency-Key": f"embeddings-{path}"}

    first, second = [await client.http.post(path, json={"model": model, **fields}, headers=headers) for _ in range(2)]

    assert first.json() == second.json()
    assert first.headers["X-Job-Id"] == second.headers["X-Job-Id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(stack.generations(model)) == 1


async def test_they_count_like_every_job(stack: Stack) -> None:
    client, model = await stack.newcomer(), stack.model(Answer())

    response = await post(client, "/openai/v1/embeddings", model, input=TEXT)

    row = await stack.until_recorded(response.headers["X-Job-Id"])
    assert (row["kind"], row["status"], row["prompt_tokens"], row["completion_tokens"]) == ("embed", "completed", 4, 0)
    (usage,) = (await client.http.get("/v1/usage")).json()["data"]
    assert (usage["requests"], usage["prompt_tokens"], usage["completion_tokens"]) == (1, 4, 0)
    job = (await client.http.get(f"/v1/chat/{response.headers['X-Job-Id']}")).json()
    assert (job["status"], job["usage"]) == ("completed", {"prompt_tokens": 4, "completion_tokens": 0})
