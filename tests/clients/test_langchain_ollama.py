"""LangChain's package for Ollama."""

from typing import Any

import ollama
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM

from infra.local.demo_model import embedding_of
from tests.clients.double import RemoteDouble
from tests.clients.offer import Offer
from tests.clients.questions import CITY, IMAGE, PROMPT, UNUSUAL, City, in_two_steps, weather
from tests.ollama_double import Answer, Thinking

pytestmark = pytest.mark.client("langchain-ollama", "Python")


def address(offer: Offer) -> dict[str, Any]:
    """Return what somebody changes: the address, and the key in a header."""
    return {
        "base_url": f"{offer.url}/ollama",
        "client_kwargs": {"headers": {"Authorization": f"Bearer {offer.api_key}"}},
    }


def chat_of(offer: Offer, model: str, **fields: Any) -> ChatOllama:  # noqa: ANN401  whatever it takes
    """Return the model of somebody who has changed address and key."""
    return ChatOllama(model=model, **address(offer), **fields)


def test_a_whole_answer(offer: Offer, double: RemoteDouble) -> None:
    answer = chat_of(offer, double.model(Answer(UNUSUAL))).invoke(PROMPT)
    assert answer.text == "".join(UNUSUAL)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == len(UNUSUAL)


def test_a_stream(offer: Offer, double: RemoteDouble) -> None:
    pieces = list(chat_of(offer, double.model(Answer(UNUSUAL))).stream(PROMPT))
    assert [piece.text for piece in pieces if piece.text] == list(UNUSUAL)


async def test_a_client_that_does_not_block(offer: Offer, double: RemoteDouble) -> None:
    chat = chat_of(offer, double.model(Answer(("Hel", "lo"))))
    assert (await chat.ainvoke(PROMPT)).text == "Hello"
    assert "".join([piece.text async for piece in chat.astream(PROMPT)]) == "Hello"


def test_tools_are_called_and_their_results_go_back(offer: Offer, double: RemoteDouble) -> None:
    with_tools = chat_of(offer, double.model(*in_two_steps("Zürich", "Ōsaka"))).bind_tools([tool(weather)])
    asked = HumanMessage(PROMPT)
    called = with_tools.invoke([asked])
    assert [call["args"] for call in called.tool_calls] == [{"city": "Zürich"}, {"city": "Ōsaka"}]
    told = [ToolMessage(weather(call["args"]["city"]), tool_call_id=call["id"]) for call in called.tool_calls]
    assert with_tools.invoke([asked, called, *told]).text == "It is sunny."


def test_an_answer_has_the_form_that_was_asked_for(offer: Offer, double: RemoteDouble) -> None:
    chat = chat_of(offer, double.model(Answer((CITY.model_dump_json(),))))
    assert chat.with_structured_output(City).invoke(PROMPT) == CITY
    assert double.asked()[0].request["format"]["title"] == "City"


def test_images_are_seen(offer: Offer, double: RemoteDouble) -> None:
    image = {"type": "image", "base64": IMAGE, "mime_type": "image/png"}
    chat_of(offer, double.model(Answer(("a dot",)))).invoke([HumanMessage([{"type": "text", "text": PROMPT}, image])])
    assert double.asked()[0].request["messages"][0]["images"] == [IMAGE]


def test_thoughts_are_beside_the_answer(offer: Offer, double: RemoteDouble) -> None:
    answer = chat_of(offer, double.model(Answer((Thinking("hm"), "Hello"))), reasoning=True).invoke(PROMPT)
    assert (answer.text, answer.additional_kwargs["reasoning_content"]) == ("Hello", "hm")


def test_a_prompt_is_completed(offer: Offer, double: RemoteDouble) -> None:
    assert OllamaLLM(model=double.model(Answer(UNUSUAL)), **address(offer)).invoke(PROMPT) == "".join(UNUSUAL)


def test_a_model_is_looked_for_first(offer: Offer, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hello",)))
    assert chat_of(offer, model, validate_model_on_init=True).invoke(PROMPT).text == "Hello"
    with pytest.raises(ValueError, match="not found"):
        chat_of(offer, "nobody", validate_model_on_init=True)


def test_embeddings(offer: Offer, double: RemoteDouble) -> None:
    embeddings = OllamaEmbeddings(model=double.model(Answer()), **address(offer))
    assert embeddings.embed_documents(["one", "two"]) == [embedding_of("one"), embedding_of("two")]
    assert embeddings.embed_query("one") == embedding_of("one")


def test_an_unknown_model(offer: Offer) -> None:
    with pytest.raises(ollama.ResponseError, match="not found"):
        chat_of(offer, "nobody").invoke(PROMPT)
