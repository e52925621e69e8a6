"""An error is told as the surface's clients know it; its status is the contract's, or the original's."""

import msgspec
import pytest

from gateway.admission.rate_limit import Limit, LimitState, refusal
from gateway.error_dialects import elsewhere
from gateway.error_responses import answer
from shared.errors import DeeperSensorError, InvalidRequestError, ModelNotFoundError

NOT_THERE = ModelNotFoundError("There is no model 'x'.", param="model")
WRONG = InvalidRequestError("At most 2.", param="temperature")


@pytest.mark.parametrize("path", ["/openai/v1/models/x", "/v1/chat", "/health", "/openaix", "/ollamas/api/chat"])
def test_the_one_shape(path: str) -> None:
    error = msgspec.json.decode(answer(NOT_THERE, path).content)["error"]

    assert (error["code"], error["type"], error["param"]) == ("model_not_found", "invalid_request_error", "model")


@pytest.mark.parametrize("path", ["/ollama/api/chat", "/ollama", "/ollama/nothing/here"])
def test_ollamas_shape(path: str) -> None:
    assert msgspec.json.decode(answer(NOT_THERE, path).content) == {"error": "There is no model 'x'."}


def test_ollamas_message_names_the_field_once() -> None:
    """Its form has no other place for the name."""
    wrong = InvalidRequestError("At most 2.", param="options.temperature")
    assert msgspec.json.decode(answer(wrong, "/ollama/api/chat").content) == {
        "error": "options.temperature: At most 2."
    }
    missing = ModelNotFoundError("Model 'x' not found.", param="model")
    assert msgspec.json.decode(answer(missing, "/ollama/api/chat").content) == {"error": "Model 'x' not found."}


@pytest.mark.parametrize(
    ("path", "error", "status"),
    [
        ("/v1/chat", WRONG, 422),
        ("/openai/v1/chat/completions", WRONG, 400),
        ("/ollama/api/chat", WRONG, 400),
        ("/openai/v1/chat/completions", NOT_THERE, 404),
        ("/ollama/api/chat", NOT_THERE, 404),
    ],
)
def test_the_status_of_a_wrong_request(path: str, error: DeeperSensorError, status: int) -> None:
    assert answer(error, path).status_code == status


USER = LimitState(limit=Limit(scope="user", name="ada", per_minute=60, burst=60), remaining=50, reset_s=9.2)


def test_openais_clients_are_told_of_limits_in_its_words() -> None:
    headers = answer(refusal([USER], index=1, retry_after_us=1_200_000), "/openai/v1/chat/completions").headers

    assert headers["Retry-After"] == "2"
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("60", "50")
    assert headers["x-ratelimit-reset-requests"] == "10s"
    assert "X-Should-Retry" not in headers


def test_others_are_not() -> None:
    headers = answer(refusal([USER], index=1, retry_after_us=1_200_000), "/v1/chat").headers

    assert headers.keys() == {"Retry-After", "RateLimit", "RateLimit-Policy"}


def test_openais_clients_are_told_when_they_would_ask_again_too_soon() -> None:
    headers = answer(refusal([USER], index=1, retry_after_us=61_000_000), "/openai/v1/chat/completions").headers

    assert (headers["Retry-After"], headers["X-Should-Retry"]) == ("61", "false")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (WRONG, "temperature: At most 2."),
        (InvalidRequestError("Object missing required field `model`.", param="model"), None),
        (InvalidRequestError("The body is wrong."), None),
    ],
    ids=["a field", "a field that is named", "no field"],
)
def test_ollamas_message_names_the_field(error: DeeperSensorError, message: str | None) -> None:
    assert msgspec.json.decode(answer(error, "/ollama/api/chat").content) == {"error": message or error.message}


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/v1/chat/completions", "/openai/v1"),
        ("/v1/completions", "/openai/v1"),
        ("/v1/embeddings", "/openai/v1"),
        ("/ollama/v1/chat/completions", "/openai/v1"),
        ("/api/chat", "/ollama"),
        ("/api/tags", "/ollama"),
        ("/v1/chats", ""),
        ("/openai/v1/completions", ""),
    ],
)
def test_who_is_at_the_wrong_address_is_told_of_theirs(path: str, where: str) -> None:
    told = elsewhere(path)
    assert f"below {where}:" in told if where else not told
