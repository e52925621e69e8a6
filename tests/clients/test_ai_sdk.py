"""The AI SDK, by both of its providers that speak OpenAI's protocol."""

from typing import Any

import pytest

from infra.local.demo_model import embedding_of
from tests.clients.double import RemoteDouble
from tests.clients.node import Node
from tests.clients.offer import Offer
from tests.clients.questions import CITY, HELLO, IMAGE, PROMPT, PROMPT_TOKENS, UNUSUAL, call
from tests.ollama_double import Answer, Done, Fail, Hang, Thinking, ToolCalls

USAGE = {"inputTokens": PROMPT_TOKENS, "outputTokens": 3, "totalTokens": PROMPT_TOKENS + 3}


@pytest.fixture(
    params=[
        pytest.param("compatible", marks=pytest.mark.client("@ai-sdk/openai-compatible", "JavaScript")),
        pytest.param("openai", marks=pytest.mark.client("@ai-sdk/openai", "JavaScript")),
    ]
)
def provider(request: pytest.FixtureRequest) -> str:
    """One of the two."""
    return request.param


async def test_a_whole_answer(node: Node, double: RemoteDouble, provider: str) -> None:
    model = double.model(Answer(HELLO))

    told = await node("ai", "text", model=model, provider=provider)

    assert told == {"text": "Hello there", "finishReason": "stop", "usage": USAGE, "model": model}


async def test_nothing_that_was_asked_is_lost(node: Node, double: RemoteDouble, provider: str) -> None:
    model = double.model(Answer((*HELLO, Done("length"))))

    told = await node(
        "ai",
        "text",
        model=model,
        provider=provider,
        seed=0,
        temperature=0,
        maxOutputTokens=3,
        stopSequences=["END"],
    )

    assert told["finishReason"] == "length"
    options = double.asked()[0].request["options"]
    wanted = {"seed": 0, "temperature": 0, "num_predict": 3, "stop": ["END"]}
    assert {name: options.get(name) for name in wanted} == wanted


async def test_a_stream(node: Node, double: RemoteDouble, provider: str) -> None:
    model = double.model(Answer(HELLO))

    told = await node("ai", "streamed", model=model, provider=provider)

    assert told == {"deltas": list(HELLO), "finishReason": "stop", "usage": USAGE}


async def test_characters_that_look_like_the_end_of_a_line(node: Node, double: RemoteDouble, provider: str) -> None:
    model = double.model(Answer(UNUSUAL))

    told = await node("ai", "streamed", model=model, provider=provider)

    assert told["deltas"] == list(UNUSUAL)


@pytest.mark.client("@ai-sdk/openai-compatible", "JavaScript")
async def test_what_the_model_thinks(node: Node, double: RemoteDouble) -> None:
    """OpenAI's own provider has no field for it."""
    model = double.model(Answer((Thinking("Let me "), Thinking("see."), *HELLO)))

    whole = await node("ai", "text", model=model, reasoning="high")
    streamed = await node("ai", "streamed", model=model, reasoning="none")

    assert (whole["reasoningText"], whole["text"]) == ("Let me see.", "Hello there")
    assert (streamed["reasoning"], streamed["deltas"]) == ("Let me see.", list(HELLO))
    assert [asked.request["think"] for asked in double.asked()] == ["high", False]


async def test_a_conversation_with_an_image(node: Node, double: RemoteDouble, provider: str) -> None:
    model = double.model(Answer(HELLO))

    assert await node("ai", "conversation", model=model, provider=provider, image=IMAGE) == "Hello there"
    system, asked, answered, again = double.asked()[0].request["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert asked == {"role": "user", "content": "What is this?", "images": [IMAGE]}
    assert answered["content"] == "A pixel."
    assert answered.get("thinking") == ("Hm." if provider == "compatible" else None)
    assert again["content"] == PROMPT


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_tools_in_several_steps(node: Node, double: RemoteDouble, provider: str, *, stream: bool) -> None:
    model = double.model(
        Answer((Thinking("Hm."), ToolCalls([call("Oslo")]))),
        Answer((ToolCalls([call("Rome"), call("Bern", 1)]),)),
        Answer(HELLO),
    )

    told = await node("ai", "tools", model=model, provider=provider, stream=stream)

    assert told == {
        "asked": ["Oslo", "Rome", "Bern"],
        "text": "Hello there",
        "steps": ["tool-calls", "tool-calls", "stop"],
    }
    said = double.asked()[2].request["messages"]
    assert [message["role"] for message in said] == ["user", "assistant", "tool", "assistant", "tool", "tool"]
    assert {message["tool_name"] for message in said if message["role"] == "tool"} == {"weather"}
    assert said[2]["content"] == "sunny in Oslo"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_an_object(node: Node, double: RemoteDouble, provider: str, *, stream: bool) -> None:
    model = double.model(Answer(tuple(CITY.model_dump_json())))

    told = await node("ai", "object", model=model, provider=provider, stream=stream)

    assert told["output"] == CITY.model_dump()
    assert told.get("partials", 2) > 1  # it came in pieces
    assert list(double.asked()[0].request["format"]["properties"]) == ["name", "inhabitants"]


async def test_embeddings(node: Node, double: RemoteDouble, provider: str) -> None:
    model = double.model(Answer())

    one = await node("ai", "embedding", model=model, provider=provider, value="one text", dimensions=8)
    several = await node("ai", "embeddings", model=model, provider=provider, values=["one text", "another"])

    assert one == {"embedding": pytest.approx(embedding_of("one text", 8)), "tokens": 2}
    assert several["embeddings"] == [pytest.approx(embedding_of(text)) for text in ("one text", "another")]
    assert several["tokens"] == 3


async def test_a_model_that_there_is_not(node: Node, provider: str) -> None:
    error = await node("ai", "refused", model="nobody/has-it:1b", provider=provider)

    assert (error["name"], error["statusCode"], error["isRetryable"]) == ("AI_APICallError", 404, False)
    assert error["data"]["error"]["code"] == "model_not_found"
    assert error["message"] == error["data"]["error"]["message"]


async def test_a_key_that_is_not_good(stranger: Node, offer: Offer, provider: str) -> None:
    error = await stranger("ai", "refused", model=offer.models[0], provider=provider)

    assert (error["name"], error["statusCode"], error["isRetryable"]) == ("AI_APICallError", 401, False)


async def test_what_is_wrong_with_a_request(node: Node, offer: Offer, provider: str) -> None:
    error = await node("ai", "refused", model=offer.models[0], provider=provider, temperature=7)

    assert (error["name"], error["statusCode"]) == ("AI_APICallError", 400)
    assert error["data"]["error"]["param"] == "temperature"


@pytest.mark.client("@ai-sdk/openai", "JavaScript")
async def test_the_other_api_of_openai_is_not_there(node: Node, offer: Offer) -> None:
    error = await node("ai", "responses", model=offer.models[0])

    assert (error["name"], error["statusCode"]) == ("AI_APICallError", 404)
    assert "/openai/v1/chat/completions" in error["message"]


@pytest.mark.client("@ai-sdk/openai-compatible", "JavaScript")
async def test_who_asks_too_often_waits_as_told(impatient: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    assert sorted(await impatient("ai", "retried", model=model, times=2)) == [200, 200, 429]


async def test_a_model_that_fails_in_the_middle(node: Node, double: RemoteDouble, provider: str) -> None:
    model = double.model(Answer(("Hel", "lo", Fail())))

    broken: dict[str, Any] = await node("ai", "brokenOff", model=model, provider=provider)

    assert broken["deltas"] == ["Hel", "lo"]
    [error] = broken["errors"]
    assert (error["name"], error["data"]["code"]) == ("AI_StreamProviderError", "worker_lost")
    assert error["message"] == error["data"]["message"]
    assert broken["finishReason"] == "error"


async def test_a_stream_that_is_left_frees_its_slot(node: Node, double: RemoteDouble, provider: str) -> None:
    model = double.model(Answer(("one ", "two ", Hang())))

    async with node.running("ai", "left", model=model, provider=provider, pieces=2) as left:
        assert left == {"deltas": ["one ", "two "], "aborted": True}
        double.until(lambda asked: [each.outcome for each in asked] == ["aborted"], "the model has stopped")
