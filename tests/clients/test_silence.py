"""A model that says nothing for a while: no client gives up, and none takes a sign of life for a word."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import product

import ollama
import openai
import pytest
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.double import RemoteDouble
from tests.clients.node import Node
from tests.clients.offer import Offer
from tests.clients.questions import PROMPT
from tests.clients.tally import Language
from tests.ollama_double import Answer, Pause

Named = tuple[str, Language]

SILENCE = Pause(8500)  # longer than what lies between two signs of life
SILENCES = {"before the answer": Answer((SILENCE, "Hel", "lo")), "within the answer": Answer(("Hel", SILENCE, "lo"))}


async def by_openai(offer: Offer, model: str) -> str:
    async with openai.AsyncOpenAI(base_url=f"{offer.url}/openai/v1", api_key=offer.api_key) as client:
        stream = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": PROMPT}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def by_ollama(offer: Offer, model: str) -> str:
    headers = {"Authorization": f"Bearer {offer.api_key}"}
    async with ollama.AsyncClient(host=f"{offer.url}/ollama", headers=headers) as client:
        stream = await client.chat(model, [{"role": "user", "content": PROMPT}], stream=True)
        return "".join([piece.message.content or "" async for piece in stream])


async def by_langchain_openai(offer: Offer, model: str) -> str:
    chat = ChatOpenAI(model=model, base_url=f"{offer.url}/openai/v1", api_key=SecretStr(offer.api_key))
    return "".join([piece.text async for piece in chat.astream(PROMPT)])


async def by_langchain_ollama(offer: Offer, model: str) -> str:
    headers = {"Authorization": f"Bearer {offer.api_key}"}
    chat = ChatOllama(model=model, base_url=f"{offer.url}/ollama", client_kwargs={"headers": headers})
    return "".join([piece.text async for piece in chat.astream(PROMPT)])


async def by_pydantic_ai(offer: Offer, model: str) -> str:
    provider = OpenAIProvider(base_url=f"{offer.url}/openai/v1", api_key=offer.api_key)
    async with Agent(OpenAIChatModel(model, provider=provider)).run_stream(PROMPT) as run:
        return await run.get_output()


async def by_openai_in_javascript(offer: Offer, model: str) -> str:
    chunks = await Node(offer.node, url=offer.url, key=offer.api_key)("openai", "streamed", model=model)
    return "".join([chunk["choices"][0]["delta"].get("content", "") for chunk in chunks])


async def by_ollama_in_javascript(offer: Offer, model: str) -> str:
    pieces = await Node(offer.node, url=offer.url, key=offer.api_key)("ollama", "streamedChat", model=model)
    return "".join([piece["message"]["content"] for piece in pieces])


async def by_the_ai_sdk(offer: Offer, model: str) -> str:
    told = await Node(offer.node, url=offer.url, key=offer.api_key)("ai", "streamed", model=model)
    return "".join(told["deltas"])


CLIENTS: dict[Named, Callable[[Offer, str], Awaitable[str]]] = {
    ("openai", "Python"): by_openai,
    ("ollama", "Python"): by_ollama,
    ("langchain-openai", "Python"): by_langchain_openai,
    ("langchain-ollama", "Python"): by_langchain_ollama,
    ("pydantic-ai-slim", "Python"): by_pydantic_ai,
    ("openai", "JavaScript"): by_openai_in_javascript,
    ("ollama", "JavaScript"): by_ollama_in_javascript,
    ("@ai-sdk/openai-compatible", "JavaScript"): by_the_ai_sdk,
}


@pytest.fixture(scope="module")
async def answers(offer: Offer, remote_double: RemoteDouble) -> dict[tuple[Named, str], str | BaseException]:
    """What each client was answered; they ask all at once, so that the silence is waited for but once."""
    asked = list(product(CLIENTS, SILENCES))
    asking = [CLIENTS[client](offer, remote_double.model(SILENCES[when])) for client, when in asked]
    return dict(zip(asked, await asyncio.gather(*asking, return_exceptions=True), strict=True))


@pytest.mark.parametrize("when", SILENCES)
@pytest.mark.parametrize(
    "client", [pytest.param(named, marks=pytest.mark.client(*named), id=" in ".join(named)) for named in CLIENTS]
)
def test_a_silence_is_survived(answers: dict[tuple[Named, str], str | BaseException], client: Named, when: str) -> None:
    assert answers[client, when] == "Hello"
