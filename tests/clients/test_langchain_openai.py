"""LangChain's package for OpenAI."""

from typing import Any

import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from infra.local.demo_model import embedding_of
from tests.clients.double import RemoteDouble
from tests.clients.offer import Offer
from tests.clients.questions import CITY, IMAGE, PROMPT, UNUSUAL, City, in_two_steps, weather
from tests.ollama_double import Answer

pytestmark = pytest.mark.client("langchain-openai", "Python")


def chat_of(offer: Offer, model: str, **fields: Any) -> ChatOpenAI:  # noqa: ANN401  whatever it takes
    """Return the model of somebody who has changed address and key."""
    return ChatOpenAI(
        model=model, base_url=f"{offer.url}/openai/v1", api_key=SecretStr(offer.api_key), max_retries=0, **fields
    )


def test_a_whole_answer(offer: Offer, double: RemoteDouble) -> None:
    answer = chat_of(offer, double.model(Answer(UNUSUAL))).invoke(PROMPT)
    assert answer.text == "".join(UNUSUAL)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == len(UNUSUAL)


def test_a_stream(offer: Offer, double: RemoteDouble) -> None:
    chat = chat_of(offer, double.model(Answer(UNUSUAL)), stream_usage=True)
    pieces = list(chat.stream(PROMPT))
    assert [piece.text for piece in pieces if piece.text] == list(UNUSUAL)
    usages = [piece.usage_metadata["output_tokens"] for piece in pieces if piece.usage_metadata]
    assert usages == [len(UNUSUAL)]


async def test_a_client_that_does_not_block(offer: Offer, double: RemoteDouble) -> None:
    chat = chat_of(offer, double.model(Answer(("Hel", "lo"))))
    assert (await chat.ainvoke(PROMPT)).text == "Hello"
    assert "".join([piece.text async for piece in chat.astream(PROMPT)]) == "Hello"


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_tools_are_called_and_their_results_go_back(offer: Offer, double: RemoteDouble, *, streaming: bool) -> None:
    chat = chat_of(offer, double.model(*in_two_steps("Zürich", "Ōsaka")), streaming=streaming)
    with_tools = chat.bind_tools([tool(weather)])
    asked = HumanMessage(PROMPT)
    called = with_tools.invoke([asked])
    assert [call["args"] for call in called.tool_calls] == [{"city": "Zürich"}, {"city": "Ōsaka"}]
    told = [ToolMessage(weather(call["args"]["city"]), tool_call_id=call["id"]) for call in called.tool_calls]
    assert with_tools.invoke([asked, called, *told]).text == "It is sunny."
    assert [message["role"] for message in double.asked()[1].request["messages"]] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]


def test_an_answer_has_the_form_that_was_asked_for(offer: Offer, double: RemoteDouble) -> None:
    chat = chat_of(offer, double.model(Answer((CITY.model_dump_json(),))))
    assert chat.with_structured_output(City).invoke(PROMPT) == CITY
    assert chat.with_structured_output(City, method="json_mode").invoke(PROMPT) == CITY
    by_schema, by_mode = (generation.request["format"] for generation in double.asked())
    assert (by_schema["title"], by_mode) == ("City", "json")


def test_images_are_seen(offer: Offer, double: RemoteDouble) -> None:
    image = {"type": "image", "base64": IMAGE, "mime_type": "image/png"}
    chat_of(offer, double.model(Answer(("a dot",)))).invoke([HumanMessage([{"type": "text", "text": PROMPT}, image])])
    assert double.asked()[0].request["messages"][0]["images"] == [IMAGE]


def test_several_at_once(offer: Offer, double: RemoteDouble) -> None:
    answers = chat_of(offer, double.model(Answer(("Hello",)))).batch([PROMPT] * 5)
    assert [answer.text for answer in answers] == ["Hello"] * 5


def test_embeddings(offer: Offer, double: RemoteDouble) -> None:
    embeddings = OpenAIEmbeddings(
        model=double.model(Answer()),
        base_url=f"{offer.url}/openai/v1",
        api_key=SecretStr(offer.api_key),
        check_embedding_ctx_length=False,  # as for every server that is not OpenAI: it would send tokens of its models
    )
    vectors = embeddings.embed_documents(["one", "two"])
    assert vectors == [pytest.approx(embedding_of(text), rel=1e-6) for text in ("one", "two")]
    assert embeddings.embed_query("one") == pytest.approx(embedding_of("one"), rel=1e-6)


def test_an_unknown_model(offer: Offer) -> None:
    with pytest.raises(openai.NotFoundError):
        chat_of(offer, "nobody").invoke(PROMPT)
