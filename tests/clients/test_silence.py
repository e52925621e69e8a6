"""A model that says nothing for a while: no client gives up, and none takes a sign of life for a word."""

import asyncio
from collections.abc import Awaitable, Callable

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
from tests.clients.offer import Offer
from tests.clients.questions import PROMPT
from tests.ollama_double import Answer, Pause

SILENCE_MS = 8500  # longer than what lies between two signs of life


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


CLIENTS: dict[str, Callable[[Offer, str], Awaitable[str]]] = {
    "openai": by_openai,
    "ollama": by_ollama,
    "langchain-openai": by_langchain_openai,
    "langchain-ollama": by_langchain_ollama,
    "pydantic-ai-slim": by_pydantic_ai,
}


@pytest.fixture(scope="module")
async def answers(offer: Offer, remote_double: RemoteDouble) -> dict[str, str | BaseException]:
    """What each client was answered; they ask all at once, so that the silence is waited for but once."""
    silent = Answer(("Hel", Pause(SILENCE_MS), "lo"))
    asking = [client(offer, remote_double.model(silent)) for client in CLIENTS.values()]
    return dict(zip(CLIENTS, await asyncio.gather(*asking, return_exceptions=True), strict=True))


@pytest.mark.parametrize("client", [pytest.param(name, marks=pytest.mark.client(name, "Python")) for name in CLIENTS])
def test_a_silence_is_survived(answers: dict[str, str | BaseException], client: str) -> None:
    assert answers[client] == "Hello"
