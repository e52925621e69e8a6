"""pydantic-ai: agents with tools and typed output, by the protocol of OpenAI."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from pydantic_ai import Agent, BinaryContent, ModelHTTPError, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.double import RemoteDouble
from tests.clients.offer import Offer
from tests.clients.questions import CITY, IMAGE, PROMPT, UNUSUAL, City, in_two_steps, weather
from tests.images import png
from tests.ollama_double import Answer, Thinking, ToolCalls

pytestmark = pytest.mark.client("pydantic-ai-slim", "Python")


@pytest.fixture
async def provider(offer: Offer) -> AsyncIterator[OpenAIProvider]:
    """Somebody who has changed address and key."""
    client = openai.AsyncOpenAI(base_url=f"{offer.url}/openai/v1", api_key=offer.api_key, max_retries=0)
    async with client:
        yield OpenAIProvider(openai_client=client)


def agent_of(provider: OpenAIProvider, model: str, **fields: Any) -> Agent[None, Any]:  # noqa: ANN401
    return Agent(OpenAIChatModel(model, provider=provider), **fields)


async def test_a_whole_answer(provider: OpenAIProvider, double: RemoteDouble) -> None:
    run = await agent_of(provider, double.model(Answer(UNUSUAL)), instructions="Be brief.").run(PROMPT)
    assert run.output == "".join(UNUSUAL)
    assert double.asked()[0].request["messages"][0] == {"role": "system", "content": "Be brief."}


async def test_its_own_way_to_ollama(offer: Offer, double: RemoteDouble) -> None:
    """It is named after Ollama, and speaks OpenAI's protocol."""
    provider = OllamaProvider(base_url=f"{offer.url}/openai/v1", api_key=offer.api_key)
    model = OllamaModel(double.model(Answer((CITY.model_dump_json(),))), provider=provider)
    assert (await Agent(model, output_type=NativeOutput(City)).run(PROMPT)).output == CITY


async def test_a_stream(provider: OpenAIProvider, double: RemoteDouble) -> None:
    async with agent_of(provider, double.model(Answer(UNUSUAL))).run_stream(PROMPT) as run:
        pieces = [piece async for piece in run.stream_text(delta=True, debounce_by=None)]
        assert run.usage.output_tokens == len(UNUSUAL)
    assert "".join(pieces) == "".join(UNUSUAL)


async def test_tools_are_called_and_their_results_go_back(provider: OpenAIProvider, double: RemoteDouble) -> None:
    model = double.model(*in_two_steps("Zürich", "Ōsaka"))
    run = await agent_of(provider, model, tools=[weather]).run(PROMPT)
    assert run.output == "It is sunny."
    told = [each["content"] for each in double.asked()[1].request["messages"] if each["role"] == "tool"]
    assert told == ["sunny in Zürich", "sunny in Ōsaka"]


async def test_tools_are_called_in_a_stream(provider: OpenAIProvider, double: RemoteDouble) -> None:
    agent = agent_of(provider, double.model(*in_two_steps("Zürich")), tools=[weather])
    async with agent.run_stream(PROMPT) as run:
        assert await run.get_output() == "It is sunny."


async def test_output_of_a_type_by_a_tool(provider: OpenAIProvider, double: RemoteDouble) -> None:
    call = {"function": {"name": "final_result", "arguments": CITY.model_dump()}}
    run = await agent_of(provider, double.model(Answer((ToolCalls([call]),))), output_type=ToolOutput(City)).run(PROMPT)
    assert run.output == CITY


@pytest.mark.parametrize("way", [NativeOutput, PromptedOutput])
async def test_output_of_a_type_by_a_form(provider: OpenAIProvider, double: RemoteDouble, way: type[Any]) -> None:
    run = await agent_of(provider, double.model(Answer((CITY.model_dump_json(),))), output_type=way(City)).run(PROMPT)
    assert run.output == CITY


async def test_an_answer_of_the_wrong_form_is_asked_for_again(provider: OpenAIProvider, double: RemoteDouble) -> None:
    model = double.model(Answer(("no JSON",)), Answer((CITY.model_dump_json(),)))
    run = await agent_of(provider, model, output_type=NativeOutput(City)).run(PROMPT)
    assert run.output == CITY
    assert len(double.asked()) == 2


async def test_images_are_seen(provider: OpenAIProvider, double: RemoteDouble) -> None:
    image = BinaryContent(png(), media_type="image/png")
    await agent_of(provider, double.model(Answer(("a dot",)))).run([PROMPT, image])
    assert double.asked()[0].request["messages"][0]["images"] == [IMAGE]


async def test_thoughts_are_kept_apart(provider: OpenAIProvider, double: RemoteDouble) -> None:
    run = await agent_of(provider, double.model(Answer((Thinking("hm"), "Hello")))).run(PROMPT)
    assert (run.output, run.response.thinking) == ("Hello", "hm")


async def test_an_unknown_model(provider: OpenAIProvider) -> None:
    with pytest.raises(ModelHTTPError) as caught:
        await agent_of(provider, "nobody").run(PROMPT)
    assert caught.value.status_code == 404
