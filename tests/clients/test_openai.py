"""The official client of OpenAI in Python: answers."""

import base64
import json
import secrets
import struct
from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

from infra.local.demo_model import embedding_of
from tests.clients.double import RemoteDouble
from tests.clients.offer import Offer
from tests.clients.questions import CITY, IMAGE, PROMPT, UNUSUAL, City, in_two_steps
from tests.ollama_double import Answer, Done, Hang, Thinking

pytestmark = pytest.mark.client("openai", "Python")

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": PROMPT}]
WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(params=["api_key", "access_token"])
def credential(offer: Offer, request: pytest.FixtureRequest) -> str:
    """What somebody comes in with."""
    return getattr(offer, request.param)


@pytest.fixture
def client(offer: Offer) -> Iterator[openai.OpenAI]:
    """Somebody who has changed address and key."""
    with openai.OpenAI(base_url=f"{offer.url}/openai/v1", api_key=offer.api_key, max_retries=0) as client:
        yield client


def test_whoever_comes_in_is_answered(offer: Offer, credential: str, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", "lo")))
    with openai.OpenAI(base_url=f"{offer.url}/openai/v1", api_key=credential) as client:
        completion = client.chat.completions.create(model=model, messages=MESSAGES)
    assert completion.choices[0].message.content == "Hello"


def test_a_whole_answer(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(UNUSUAL))
    completion = client.chat.completions.create(model=model, messages=MESSAGES)
    assert completion.choices[0].message.content == "".join(UNUSUAL)
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == model
    assert completion.usage is not None
    assert completion.usage.completion_tokens == len(UNUSUAL)
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + len(UNUSUAL)


def test_a_stream(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer((*UNUSUAL, Done("length"))))
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", *UNUSUAL, None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_with_usage(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", "lo")))
    *chunks, last = client.chat.completions.create(
        model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 2
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_a_stream_read_by_its_events(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", "lo")))
    with client.chat.completions.stream(model=model, messages=MESSAGES) as stream:
        assert "".join(event.delta for event in stream if event.type == "content.delta") == "Hello"
        assert stream.get_final_completion().choices[0].message.content == "Hello"


async def test_a_client_that_does_not_block(offer: Offer, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", "lo")))
    async with openai.AsyncOpenAI(base_url=f"{offer.url}/openai/v1", api_key=offer.api_key) as client:
        completion = await client.chat.completions.create(model=model, messages=MESSAGES)
        stream = await client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert completion.choices[0].message.content == "".join(pieces) == "Hello"


def test_a_request_that_is_sent_again_has_the_same_answer(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hello",)))
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    answers = [
        client.chat.completions.create(model=model, messages=MESSAGES, extra_headers=headers).to_dict()
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert len(double.asked()) == 1


def test_ids_are_unique(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hello",)))
    ids = {client.chat.completions.create(model=model, messages=MESSAGES).id for _ in range(3)}
    assert len(ids) == 3
    assert all(each.startswith("chatcmpl-") for each in ids)


def test_a_stream_left_in_the_middle_stops_the_model(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", Hang())))
    with client.chat.completions.create(model=model, messages=MESSAGES, stream=True) as stream:
        assert next(chunk for chunk in stream if chunk.choices[0].delta.content)
    double.until(lambda asked: asked[0].outcome == "aborted", "Ollama is left alone")


@pytest.mark.parametrize("cities", [["Zürich"], ["Zürich", "Ōsaka"]], ids=["one", "two"])
def test_tools_are_called_and_their_results_go_back(
    client: openai.OpenAI, double: RemoteDouble, cities: list[str]
) -> None:
    model = double.model(*in_two_steps(*cities))
    first = client.chat.completions.create(model=model, messages=MESSAGES, tools=[WEATHER])
    calls = first.choices[0].message.tool_calls or []
    assert first.choices[0].finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in calls if call.type == "function"] == [
        {"city": city} for city in cities
    ]
    assert len({call.id for call in calls}) == len(cities)

    results: list[ChatCompletionMessageParam] = [
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls
    ]
    said: ChatCompletionMessageParam = first.choices[0].message.to_dict()  # pyright: ignore[reportAssignmentType]
    second = client.chat.completions.create(model=model, messages=[*MESSAGES, said, *results], tools=[WEATHER])
    assert second.choices[0].message.content == "It is sunny."
    _, asker, *told = double.asked()[1].request["messages"]
    assert [call["function"]["arguments"] for call in asker["tool_calls"]] == [{"city": city} for city in cities]
    assert [(message["role"], message["tool_name"]) for message in told] == [("tool", "weather")] * len(cities)


def test_tool_calls_are_streamed(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(in_two_steps("Zürich", "Ōsaka")[0])
    chunks = client.chat.completions.create(model=model, messages=MESSAGES, tools=[WEATHER], stream=True)
    choices = [chunk.choices[0] for chunk in chunks]
    calls = [call for choice in choices for call in choice.delta.tool_calls or []]
    assert [call.index for call in calls] == [0, 1]
    assert [json.loads(call.function.arguments or "") for call in calls if call.function] == [
        {"city": "Zürich"},
        {"city": "Ōsaka"},
    ]
    assert all(call.id and call.type == "function" for call in calls)
    assert choices[-1].finish_reason == "tool_calls"


def test_an_answer_has_the_form_that_was_asked_for(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer((CITY.model_dump_json(),)))
    completion = client.chat.completions.parse(model=model, messages=MESSAGES, response_format=City)
    assert completion.choices[0].message.parsed == CITY
    assert list(double.asked()[0].request["format"]["properties"]) == ["name", "inhabitants"]


def test_an_answer_is_json(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(("{}",)))
    client.chat.completions.create(model=model, messages=MESSAGES, response_format={"type": "json_object"})
    assert double.asked()[0].request["format"] == "json"


def test_images_are_seen(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(("a dot",)))
    client.chat.completions.create(
        model=model,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": PROMPT},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
                ],
            }
        ],
    )
    assert double.asked()[0].request["messages"] == [{"role": "user", "content": PROMPT, "images": [IMAGE]}]


def test_zeros_arrive_and_a_developer_is_the_system(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hello",)))
    client.chat.completions.create(
        model=model,
        messages=[{"role": "developer", "content": "Be brief."}, *MESSAGES],
        temperature=0,
        seed=0,
        max_completion_tokens=7,
        stop="\n",
    )
    request = double.asked()[0].request
    assert request["options"] == {"temperature": 0, "seed": 0, "num_predict": 7, "stop": ["\n"]}
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}


def test_thoughts_are_beside_the_answer(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer((Thinking("hm"), "Hello")))
    message = client.chat.completions.create(model=model, messages=MESSAGES, reasoning_effort="high").choices[0].message
    assert (message.content, message.to_dict()["reasoning"]) == ("Hello", "hm")
    stream = client.chat.completions.create(model=model, messages=MESSAGES, reasoning_effort="none", stream=True)
    deltas = [chunk.choices[0].delta.to_dict() for chunk in stream]
    assert "".join(str(delta.get("reasoning", "")) for delta in deltas) == "hm"
    assert [generation.request["think"] for generation in double.asked()] == ["high", False]


def test_a_prompt_is_completed(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(UNUSUAL))
    completion = client.completions.create(model=model, prompt=PROMPT, max_tokens=9)
    chunks = client.completions.create(model=model, prompt=PROMPT, stream=True)
    assert completion.choices[0].text == "".join(chunk.choices[0].text for chunk in chunks) == "".join(UNUSUAL)
    assert double.asked()[0].request["prompt"] == PROMPT


def test_embeddings(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer())
    texts = ["one", "two", "zwei"]
    answer = client.embeddings.create(model=model, input=texts, encoding_format="float")
    assert [each.embedding for each in answer.data] == [embedding_of(text) for text in texts]
    assert [each.index for each in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == 3
    assert client.embeddings.create(model=model, input="one", dimensions=4).data[0].embedding == pytest.approx(
        embedding_of("one", 4), rel=1e-6
    )


def test_embeddings_by_default_come_in_base64(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer())
    raw = client.embeddings.with_raw_response.create(model=model, input="one", encoding_format="base64")
    (embedding,) = (each["embedding"] for each in raw.http_response.json()["data"])
    assert list(struct.unpack("<32f", base64.b64decode(embedding))) == pytest.approx(embedding_of("one"), rel=1e-6)
    assert client.embeddings.create(model=model, input="one").data[0].embedding == pytest.approx(
        embedding_of("one"), rel=1e-6
    )


def test_models_are_listed_and_looked_up(client: openai.OpenAI, offer: Offer) -> None:
    assert [model.id for model in client.models.list()] == offer.models
    for model in offer.models:
        assert client.models.retrieve(model).id == model
