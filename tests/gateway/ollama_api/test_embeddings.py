"""Embeddings for Ollama's clients, by both of its calls."""

import msgspec
import pytest
from msgspec import Raw

from gateway.chat.ollama_requests import OllamaEmbed
from gateway.ollama_api.embeddings import (
    EmbedRequest,
    OldEmbeddingRequest,
    to_answer,
    to_embedding,
    to_old_answer,
    to_old_embedding,
)
from gateway.request_body import to_kind
from shared.errors import InvalidRequestError
from shared.events import Embedded, Timings, Usage

TIMINGS = Timings(queue_ms=1, load_ms=2, first_token_ms=3, total_ms=4)


def read(**fields: object) -> EmbedRequest:
    return to_kind({"model": "nomic", **fields}, EmbedRequest)


def embedded(numbers: bytes, tokens: int = 7, *, timings: Timings = TIMINGS) -> Embedded:
    usage = Usage(prompt_tokens=tokens, completion_tokens=0)
    return Embedded(model="nomic:latest", embeddings=Raw(numbers), done=True, usage=usage, timings=timings, job_id="1")


def asked(request: EmbedRequest) -> bytes:
    return msgspec.json.encode(to_embedding(request).request)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        pytest.param({"input": "one"}, b'{"model":"nomic","input":"one"}', id="a text"),
        pytest.param({"input": ["one", ""]}, b'{"model":"nomic","input":["one",""]}', id="several"),
        pytest.param(
            {"input": "x", "truncate": False, "dimensions": 8},
            b'{"model":"nomic","input":"x","truncate":false,"dimensions":8}',
            id="not cut, and of another length",
        ),
        pytest.param(
            {"input": "x", "options": {"num_ctx": 512, "num_gpu": 1, "new": []}, "keep_alive": 0},
            b'{"model":"nomic","input":"x","options":{"num_ctx":512}}',
            id="without what steers the machine",
        ),
        pytest.param(
            {"input": "x", "truncate": None, "dimensions": None, "options": None, "keep_alive": None, "new": 1},
            b'{"model":"nomic","input":"x"}',
            id="null is as absent",
        ),
        pytest.param({"input": "x", "dimensions": 0}, b'{"model":"nomic","input":"x"}', id="of its own length"),
        pytest.param({}, b'{"model":"nomic","input":[]}', id="nothing, which loads the model"),
        pytest.param({"input": ""}, b'{"model":"nomic","input":[]}', id="no text, which loads it too"),
    ],
)
def test_ollama_is_asked_for_what_was_asked(fields: dict[str, object], body: bytes) -> None:
    assert asked(read(**fields)) == body


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"input": 7}, "input", id="a number"),
        pytest.param({"input": [7]}, "input[0]", id="tokens"),
        pytest.param({"input": ["x"] * 2049}, "input", id="2,049 texts"),
        pytest.param({"input": "x", "dimensions": -1}, "dimensions", id="fewer than no dimensions"),
        pytest.param({"input": "x", "truncate": "no"}, "truncate", id="a word"),
    ],
)
def test_what_is_wrong_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        read(**fields)

    assert refusal.value.param == param


def test_the_answer_is_ollamas_with_durations_in_nanoseconds() -> None:
    answer = to_answer(embedded(b"[[0.010071029,-1.7e-05,1]]"), read(input="x"))

    assert msgspec.json.encode(answer) == (
        b'{"model":"nomic","embeddings":[[0.010071029,-1.7e-05,1]],'
        b'"total_duration":4000000,"load_duration":2000000,"prompt_eval_count":7}'
    )


def test_nothing_to_embed_gives_no_embeddings() -> None:
    timings = Timings(queue_ms=0, load_ms=0, first_token_ms=0, total_ms=0)

    answer = to_answer(embedded(b"[]", tokens=0, timings=timings), read())

    assert msgspec.json.encode(answer) == b'{"model":"nomic","embeddings":[]}'


def test_the_older_call_embeds_one_text() -> None:
    request = to_kind({"model": "nomic", "prompt": "one", "keep_alive": "5m"}, OldEmbeddingRequest)

    assert to_old_embedding(request).request == OllamaEmbed(model="nomic", input="one")
    assert msgspec.json.encode(to_old_answer(embedded(b"[[0.010071029,1]]"))) == b'{"embedding":[0.010071029,1]}'
    assert msgspec.json.encode(to_old_answer(embedded(b"[]"))) == b'{"embedding":[]}'
