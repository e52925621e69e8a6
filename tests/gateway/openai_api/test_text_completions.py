"""A prompt that is to be completed reaches Ollama as such."""

import json
from typing import Any

import msgspec
import pytest

from gateway.chat.inference import Inference
from gateway.openai_api.text_completions import CompletionRequest, to_generate
from gateway.request_body import to_kind
from shared.errors import InvalidRequestError, UnsupportedParameterError
from shared.jobs import JobKind


def inference(**fields: Any) -> Inference:  # noqa: ANN401
    return to_generate(to_kind({"model": "demo", "prompt": "Once", **fields}, CompletionRequest))


def fault_of(**fields: Any) -> InvalidRequestError:  # noqa: ANN401
    with pytest.raises(InvalidRequestError) as raised:
        inference(**fields)
    return raised.value


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, {"prompt": "Once", "options": {}}, id="a prompt"),
        pytest.param({"prompt": ["Once"]}, {"prompt": "Once", "options": {}}, id="a prompt in a list"),
        pytest.param({"suffix": "end"}, {"prompt": "Once", "suffix": "end", "options": {}}, id="a suffix"),
        pytest.param(
            {"max_tokens": 7, "temperature": 0, "seed": 0, "stop": "\n", "best_of": 1, "echo": False, "logprobs": None},
            {"prompt": "Once", "options": {"temperature": 0, "seed": 0, "num_predict": 7, "stop": ["\n"]}},
            id="how to choose",
        ),
    ],
)
def test_ollama_is_asked_for(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    wanted = inference(**fields)

    assert json.loads(msgspec.json.encode(wanted.request)) == {"model": "demo", "stream": True, **expected}
    assert (wanted.kind, wanted.is_stream) == (JobKind.GENERATE, False)


def test_the_job_knows_what_it_needs() -> None:
    wanted = inference(stream=True, max_tokens=9)
    assert (wanted.is_stream, wanted.num_predict) == (True, 9)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"n": 2}, "n", id="several answers"),
        pytest.param({"best_of": 2}, "best_of", id="the best of several"),
        pytest.param({"echo": True}, "echo", id="the prompt once more"),
        pytest.param({"logprobs": 0}, "logprobs", id="probabilities"),
        pytest.param({"prompt": ["a", "b"]}, "prompt", id="several prompts"),
        pytest.param({"prompt": [1, 2]}, "prompt", id="tokens"),
        pytest.param({"prompt": [[1, 2]]}, "prompt", id="lists of tokens"),
    ],
)
def test_what_there_is_not_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    fault = fault_of(**fields)
    assert isinstance(fault, UnsupportedParameterError)
    assert fault.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"prompt": []}, "prompt", id="no prompt"),
        pytest.param({"prompt": ""}, "prompt", id="an empty prompt"),
        pytest.param({"prompt": [""]}, "prompt", id="an empty prompt in a list"),
        pytest.param({"prompt": None}, "prompt", id="null"),
        pytest.param({"max_tokens": 0}, "max_tokens", id="no tokens"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    assert fault_of(**fields).param == param
