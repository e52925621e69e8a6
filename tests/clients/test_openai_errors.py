"""The official client of OpenAI in Python: errors."""

from collections.abc import Callable, Iterator

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from tests.clients.accounts import new_key, newcomer
from tests.clients.double import RemoteDouble
from tests.clients.offer import Offer
from tests.clients.questions import PROMPT
from tests.ollama_double import Answer, Cut, Fail

pytestmark = pytest.mark.client("openai", "Python")

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": PROMPT}]


@pytest.fixture
def client_of(offer: Offer) -> Iterator[Callable[..., openai.OpenAI]]:
    """Make a client with other arguments than usual."""
    clients: list[openai.OpenAI] = []

    def make(url: str = offer.url, api_key: str = offer.api_key, max_retries: int = 0) -> openai.OpenAI:
        clients.append(openai.OpenAI(base_url=f"{url}/openai/v1", api_key=api_key, max_retries=max_retries))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def ask(client: openai.OpenAI, model: str) -> ChatCompletion:
    return client.chat.completions.create(model=model, messages=MESSAGES)


def test_an_unknown_model(client_of: Callable[..., openai.OpenAI]) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client_of(), "nobody")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client_of().models.retrieve("nobody")
    with pytest.raises(openai.NotFoundError):
        client_of().embeddings.create(model="nobody", input="one")


@pytest.mark.parametrize("key", ["sk-ds-unknown", "nonsense"])
def test_a_wrong_key(client_of: Callable[..., openai.OpenAI], offer: Offer, key: str) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(client_of(api_key=key), offer.models[0])
    assert caught.value.code == "unauthenticated"
    assert caught.value.request_id


def test_a_key_for_other_models(client_of: Callable[..., openai.OpenAI], offer: Offer) -> None:
    key = new_key(offer, models=[offer.models[1]])
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client_of(api_key=key), offer.models[0])
    assert caught.value.code == "model_not_allowed"


def test_a_value_that_is_none(client_of: Callable[..., openai.OpenAI], offer: Offer) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client_of().chat.completions.create(model=offer.models[0], messages=MESSAGES, temperature=9)
    assert caught.value.param == "temperature"


def test_what_there_is_not(client_of: Callable[..., openai.OpenAI], offer: Offer) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client_of().chat.completions.create(model=offer.models[0], messages=MESSAGES, n=2)
    assert (caught.value.param, caught.value.code) == ("n", "unsupported_parameter")


def test_too_many_requests(client_of: Callable[..., openai.OpenAI], offer: Offer, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hello",)))
    client = client_of(offer.strict_url, newcomer(offer))
    accepted = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES)
    assert accepted.headers["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, model)
    assert caught.value.code == "rate_limited"
    assert caught.value.response.headers["Retry-After"] == "1"


def test_a_client_that_may_try_again_waits_as_it_is_told(
    client_of: Callable[..., openai.OpenAI], offer: Offer, double: RemoteDouble
) -> None:
    model = double.model(Answer(("Hello",)))
    client = client_of(offer.strict_url, newcomer(offer), max_retries=1)
    assert [ask(client, model).choices[0].message.content for _ in range(2)] == ["Hello", "Hello"]


def test_no_worker(client_of: Callable[..., openai.OpenAI], offer: Offer) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client_of(offer.strict_url, newcomer(offer)), offer.orphan)
    assert (caught.value.status_code, caught.value.code) == (503, "no_worker")
    assert int(caught.value.response.headers["Retry-After"]) > 0


def test_a_model_that_fails_before_it_answers(client_of: Callable[..., openai.OpenAI], double: RemoteDouble) -> None:
    client, model = client_of(max_retries=2), double.model(Answer((Fail(),)))
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, model)
    assert caught.value.status_code == 502
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    assert len(double.asked()) == 6  # the product has tried three times each, so that the client does not


def test_a_model_that_fails_in_the_middle(client_of: Callable[..., openai.OpenAI], double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", Cut())))
    stream = client_of().chat.completions.create(model=model, messages=MESSAGES, stream=True)
    pieces: list[str] = []
    with pytest.raises(openai.APIError) as caught:
        pieces.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert caught.value.type == "server_error"


def test_what_a_model_refuses(client_of: Callable[..., openai.OpenAI], double: RemoteDouble) -> None:
    model = double.model(Answer((Fail("prompt too long; exceeded max context length by 9 tokens", status=400),)))
    with pytest.raises(openai.BadRequestError) as caught:
        client_of().chat.completions.create(model=model, messages=MESSAGES, stream=True)
    assert caught.value.code == "context_length_exceeded"


def test_an_unknown_route(client_of: Callable[..., openai.OpenAI], offer: Offer) -> None:
    with pytest.raises(openai.NotFoundError):
        client_of().responses.create(model=offer.models[0], input=PROMPT)
    with pytest.raises(openai.NotFoundError):
        client_of().files.list()


def test_a_body_that_is_too_large(client_of: Callable[..., openai.OpenAI], offer: Offer) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client_of().embeddings.create(model=offer.models[0], input="x" * 22_000_000)
    assert caught.value.status_code == 413
