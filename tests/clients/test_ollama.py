"""The official client of Ollama in Python."""

from collections.abc import Iterator

import ollama
import pytest

from infra.local.demo_model import embedding_of
from tests.clients.accounts import new_key, newcomer
from tests.clients.double import RemoteDouble
from tests.clients.offer import Offer
from tests.clients.questions import CITY, IMAGE, PROMPT, UNUSUAL, City, in_two_steps, weather
from tests.ollama_double import Answer, Cut, Done, Fail, Hang, Thinking

pytestmark = pytest.mark.client("ollama", "Python")

MESSAGES = [{"role": "user", "content": PROMPT}]


def client_of(offer: Offer, *, url: str | None = None, credential: str | None = None) -> ollama.Client:
    """Return the client of somebody who has changed the host and added a header."""
    headers = {"Authorization": f"Bearer {credential or offer.api_key}"}
    return ollama.Client(host=f"{url or offer.url}/ollama", headers=headers)


@pytest.fixture
def client(offer: Offer) -> Iterator[ollama.Client]:
    """A client with an API key."""
    with client_of(offer) as client:
        yield client


def test_a_whole_answer(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(Answer(UNUSUAL, load_ms=1))
    answer = client.chat(model, MESSAGES)
    assert (answer.message.role, answer.message.content) == ("assistant", "".join(UNUSUAL))
    assert (answer.model, answer.done, answer.done_reason) == (model, True, "stop")
    assert (answer.prompt_eval_count, answer.eval_count) == (len(PROMPT.split()), len(UNUSUAL))
    assert all((answer.total_duration, answer.load_duration, answer.prompt_eval_duration, answer.eval_duration))
    assert answer.created_at


def test_a_stream(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(Answer((*UNUSUAL, Done("length"))))
    *pieces, last = client.chat(model, MESSAGES, stream=True)
    assert [piece.message.content for piece in pieces] == list(UNUSUAL)
    assert not any(piece.done for piece in pieces)
    assert (last.message.content, last.done, last.done_reason, last.eval_count) == ("", True, "length", len(UNUSUAL))


def test_an_access_token_does_as_well(offer: Offer, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hello",)))
    with client_of(offer, credential=offer.access_token) as client:
        assert client.chat(model, MESSAGES).message.content == "Hello"


async def test_a_client_that_does_not_block(offer: Offer, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", "lo")))
    headers = {"Authorization": f"Bearer {offer.api_key}"}
    async with ollama.AsyncClient(host=f"{offer.url}/ollama", headers=headers) as client:
        whole = await client.chat(model, MESSAGES)
        pieces = [piece.message.content or "" async for piece in await client.chat(model, MESSAGES, stream=True)]
    assert whole.message.content == "".join(pieces) == "Hello"


def test_a_stream_left_in_the_middle_stops_the_model(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", Hang())))
    stream = client.chat(model, MESSAGES, stream=True)
    assert next(stream).message.content == "Hel"
    stream.close()  # pyright: ignore[reportAttributeAccessIssue]  a generator, declared as an iterator
    double.until(lambda asked: asked[0].outcome == "aborted", "Ollama is left alone")


@pytest.mark.parametrize("cities", [["Zürich"], ["Zürich", "Ōsaka"]], ids=["one", "two"])
def test_tools_are_called_and_their_results_go_back(
    client: ollama.Client, double: RemoteDouble, cities: list[str]
) -> None:
    model = double.model(*in_two_steps(*cities))
    first = client.chat(model, MESSAGES, tools=[weather])
    calls = first.message.tool_calls or []
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("weather", {"city": city}) for city in cities
    ]
    results = [{"role": "tool", "tool_name": "weather", "content": weather(city)} for city in cities]
    second = client.chat(model, [*MESSAGES, first.message, *results], tools=[weather])
    assert second.message.content == "It is sunny."
    sent = double.asked()[1].request
    assert sent["tools"][0]["function"]["parameters"]["required"] == ["city"]
    assert [message["content"] for message in sent["messages"][2:]] == [weather(city) for city in cities]


def test_tool_calls_are_streamed(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(in_two_steps("Zürich", "Ōsaka")[0])
    pieces = client.chat(model, MESSAGES, tools=[weather], stream=True)
    calls = [call for piece in pieces for call in piece.message.tool_calls or []]
    assert [call.function.arguments for call in calls] == [{"city": "Zürich"}, {"city": "Ōsaka"}]


def test_an_answer_has_the_form_that_was_asked_for(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(Answer((CITY.model_dump_json(),)))
    answer = client.chat(model, MESSAGES, format=City.model_json_schema())
    assert City.model_validate_json(answer.message.content or "") == CITY
    assert double.asked()[0].request["format"] == City.model_json_schema()
    client.chat(model, MESSAGES, format="json")
    assert double.asked()[1].request["format"] == "json"


def test_images_are_seen(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(Answer(("a dot",)))
    client.chat(model, [ollama.Message(role="user", content=PROMPT, images=[ollama.Image(value=IMAGE)])])
    client.generate(model, PROMPT, images=[IMAGE])
    chat, generate = double.asked()
    assert chat.request["messages"][0]["images"] == generate.request["images"] == [IMAGE]


def test_thoughts_are_beside_the_answer(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(Answer((Thinking("hm"), "Hello")))
    answer = client.chat(model, MESSAGES, think="high")
    assert (answer.message.thinking, answer.message.content) == ("hm", "Hello")
    pieces = list(client.chat(model, MESSAGES, think=False, stream=True))
    assert "".join(piece.message.thinking or "" for piece in pieces) == "hm"
    assert [generation.request["think"] for generation in double.asked()] == ["high", False]


def test_zeros_arrive(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hello",)))
    client.chat(model, MESSAGES, options={"temperature": 0, "seed": 0, "num_predict": 7, "stop": ["\n"]})
    assert double.asked()[0].request["options"] == {"temperature": 0, "seed": 0, "num_predict": 7, "stop": ["\n"]}


def test_a_prompt_is_completed(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(Answer(UNUSUAL))
    answer = client.generate(model, PROMPT, system="Be brief.")
    *pieces, last = client.generate(model, PROMPT, stream=True)
    assert answer.response == "".join(piece.response or "" for piece in pieces) == "".join(UNUSUAL)
    assert (answer.done_reason, last.done_reason) == ("stop", "stop")
    sent = double.asked()[0].request
    assert (sent["prompt"], sent["system"]) == (PROMPT, "Be brief.")


def test_a_model_is_loaded_and_not_unloaded(client: ollama.Client, double: RemoteDouble) -> None:
    """Tenants do not steer the GPU for each other."""
    model = double.model(Answer(("Hello",)))
    assert client.generate(model).done_reason == "load"
    assert client.chat(model).done_reason == "load"
    assert client.generate(model, keep_alive=0).done_reason == "unload"
    assert model in [each.model for each in client.ps().models]


def test_embeddings(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(Answer())
    several = client.embed(model, ["one", "two"])
    assert list(several.embeddings) == [embedding_of("one"), embedding_of("two")]
    assert list(client.embed(model, "one", dimensions=4).embeddings) == [embedding_of("one", 4)]
    assert list(client.embeddings(model, "one").embedding) == pytest.approx(embedding_of("one"))


def test_models_are_listed_and_described(client: ollama.Client, offer: Offer) -> None:
    listed = client.list().models
    assert sorted(model.model or "" for model in listed) == offer.models
    assert all(model.digest and model.details for model in listed)
    description = client.show(offer.models[0])
    assert "tools" in (description.capabilities or [])
    assert description.modelinfo


@pytest.mark.parametrize("act", ["pull", "push", "delete", "create", "copy"])
def test_only_operators_change_models(client: ollama.Client, offer: Offer, act: str) -> None:
    acts = {
        "pull": lambda: client.pull("llama3"),
        "push": lambda: client.push("llama3"),
        "delete": lambda: client.delete(offer.models[0]),
        "create": lambda: client.create("mine", from_=offer.models[0]),
        "copy": lambda: client.copy(offer.models[0], "mine"),
    }
    with pytest.raises(ollama.ResponseError) as caught:
        acts[act]()
    assert caught.value.status_code == 403


def test_a_streamed_pull_is_refused(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        list(client.pull("llama3", stream=True))
    assert caught.value.status_code == 403


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_unknown_model(client: ollama.Client, *, stream: bool) -> None:
    with pytest.raises(ollama.ResponseError, match="not found") as caught:
        list(client.chat("nobody", MESSAGES, stream=stream))
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="not found"):
        client.show("nobody")


def test_a_wrong_key(offer: Offer) -> None:
    with client_of(offer, credential="sk-ds-unknown") as client, pytest.raises(ollama.ResponseError) as caught:
        client.chat(offer.models[0], MESSAGES)
    assert caught.value.status_code == 401


def test_a_key_for_other_models(offer: Offer) -> None:
    key = new_key(offer, models=[offer.models[1]])
    with client_of(offer, credential=key) as client, pytest.raises(ollama.ResponseError) as caught:
        client.chat(offer.models[0], MESSAGES)
    assert caught.value.status_code == 403


def test_a_value_that_is_none(client: ollama.Client, offer: Offer) -> None:
    with pytest.raises(ollama.ResponseError, match="temperature") as caught:
        client.chat(offer.models[0], MESSAGES, options={"temperature": -1})
    assert caught.value.status_code == 400


def test_too_many_requests_and_no_worker(offer: Offer, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hello",)))
    with client_of(offer, url=offer.strict_url, credential=newcomer(offer)) as client:
        client.chat(model, MESSAGES)
        with pytest.raises(ollama.ResponseError) as caught:
            client.chat(model, MESSAGES)
        assert caught.value.status_code == 429
    with client_of(offer, url=offer.strict_url, credential=newcomer(offer)) as client:
        with pytest.raises(ollama.ResponseError) as caught:
            client.chat(offer.orphan, MESSAGES)
        assert caught.value.status_code == 503


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_model_that_fails_before_it_answers(client: ollama.Client, double: RemoteDouble, *, stream: bool) -> None:
    model = double.model(Answer((Fail(),)))
    with pytest.raises(ollama.ResponseError) as caught:
        list(client.chat(model, MESSAGES, stream=stream))
    assert caught.value.status_code == 502


def test_a_model_that_fails_in_the_middle(client: ollama.Client, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", Cut())))
    pieces: list[str] = []
    with pytest.raises(ollama.ResponseError):
        pieces.extend(piece.message.content or "" for piece in client.chat(model, MESSAGES, stream=True))


def test_an_unknown_route(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        client.create_blob(__file__)
    assert caught.value.status_code in {403, 404}
