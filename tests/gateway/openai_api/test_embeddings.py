"""Embeddings for OpenAI's clients: what they may send, and the numbers they get, none of which is rounded."""

import struct
from base64 import b64decode
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from gateway.chat.ollama_requests import OllamaEmbed
from gateway.openai_api.embeddings import EmbeddingsRequest, to_embedding, to_embedding_list
from gateway.request_body import to_kind
from shared.errors import InvalidRequestError, UnsupportedParameterError
from shared.events import Embedded, Timings, Usage

NUMBERS = b"[[0.010071029,-1.7e-05,1],[0.0,-0.5,12345678]]"  # as Ollama writes float32
TIMINGS = Timings(queue_ms=1, load_ms=2, first_token_ms=3, total_ms=4)


def read(**fields: object) -> EmbeddingsRequest:
    return to_kind({"model": "nomic", **fields}, EmbeddingsRequest)


def embedded(numbers: bytes = NUMBERS) -> Embedded:
    usage = Usage(prompt_tokens=7, completion_tokens=0)
    return Embedded(model="nomic:latest", embeddings=Raw(numbers), done=True, usage=usage, timings=TIMINGS, job_id="1")


async def answer(numbers: bytes = NUMBERS, **fields: object) -> bytes:
    return msgspec.json.encode(await to_embedding_list(embedded(numbers), read(input="x", **fields)))


@pytest.mark.parametrize(
    ("input_", "texts"),
    [("one", ["one"]), (["one"], ["one"]), (["one", " ", "two"], ["one", " ", "two"])],
    ids=["a text", "a list of one", "several"],
)
def test_texts_are_asked_for_in_their_order(input_: object, texts: list[str]) -> None:
    inference = to_embedding(read(input=input_))

    assert inference.request == OllamaEmbed(model="nomic", input=texts, truncate=False)
    assert (inference.is_stream, inference.num_predict) == (False, 0)


def test_what_there_is_beside_them() -> None:
    ignored: dict[str, Any] = {"user": "ada", "encoding_format": None, "something": {"new": 1}}

    inference = to_embedding(read(input="one", dimensions=256, **ignored))

    assert inference.request == OllamaEmbed(model="nomic", input=["one"], truncate=False, dimensions=256)


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2], [3]], ["one", [2]]], ids=["one", "several", "among texts"])
def test_tokens_are_refused_with_a_word_for_who_uses_langchain(tokens: object) -> None:
    with pytest.raises(UnsupportedParameterError, match="check_embedding_ctx_length=False") as refusal:
        to_embedding(read(input=tokens))

    assert refusal.value.param == "input"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({}, "input", id="no input"),
        pytest.param({"input": None}, "input", id="null"),
        pytest.param({"input": ""}, "input", id="no text"),
        pytest.param({"input": []}, "input", id="an empty list"),
        pytest.param({"input": ["one", ""]}, "input[1]", id="one of them is empty"),
        pytest.param({"input": ["x"] * 2049}, "input", id="2,049 texts"),
        pytest.param({"input": [{"text": "x"}]}, "input[0]", id="a list of objects"),
        pytest.param({"input": "x", "dimensions": 0}, "dimensions", id="no dimensions"),
        pytest.param({"input": "x", "dimensions": 1.5}, "dimensions", id="half a dimension"),
        pytest.param({"input": "x", "encoding_format": "hex"}, "encoding_format", id="another encoding"),
    ],
)
def test_what_is_wrong_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        to_embedding(read(**fields))

    assert refusal.value.param == param


async def test_numbers_are_passed_on_as_ollama_wrote_them() -> None:
    assert await answer() == (
        b'{"object":"list","data":['
        b'{"object":"embedding","index":0,"embedding":[0.010071029,-1.7e-05,1]},'
        b'{"object":"embedding","index":1,"embedding":[0.0,-0.5,12345678]}],'
        b'"model":"nomic","usage":{"prompt_tokens":7,"total_tokens":7}}'
    )
    assert await answer(encoding_format="float") == await answer()


async def test_base64_holds_them_as_little_endian_float32() -> None:
    data = msgspec.json.decode(await answer(encoding_format="base64"))["data"]

    vectors = [struct.unpack("<3f", b64decode(each["embedding"])) for each in data]

    expected = [[0.010071029, -1.7e-05, 1.0], [0.0, -0.5, 12345678.0]]
    assert vectors == [struct.unpack("<3f", struct.pack("<3f", *numbers)) for numbers in expected]


async def test_numbers_beyond_float32_do_not_fail() -> None:
    (entry,) = msgspec.json.decode(await answer(b"[[1e39,-1e39,1e-60]]", encoding_format="base64"))["data"]

    assert struct.unpack("<3f", b64decode(entry["embedding"])) == (float("inf"), float("-inf"), 0.0)
