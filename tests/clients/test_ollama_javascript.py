"""Ollama's own client in JavaScript."""

import re
from typing import Any

import pytest

from infra.local.demo_model import embedding_of
from tests.clients.double import RemoteDouble
from tests.clients.node import Node
from tests.clients.offer import Offer
from tests.clients.questions import HELLO, IMAGE, PROMPT_TOKENS, UNUSUAL, call
from tests.ollama_double import Answer, Done, Fail, Hang, Thinking, ToolCalls

pytestmark = pytest.mark.client("ollama", "JavaScript")

CLOSING = {
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": PROMPT_TOKENS,
    "prompt_eval_duration": 1_000_000,
    "eval_count": 3,
    "eval_duration": 1_000_000,
}


def is_time(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text) is not None


def without_what_varies(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without when it was made and how long that took, which are judged here."""
    assert is_time(answer["created_at"])
    if answer["done"]:
        assert answer["total_duration"] > 0
    return {name: answer[name] for name in answer if name not in ("created_at", "total_duration", "load_duration")}


async def test_a_whole_answer(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    answer = await node("ollama", "chat", model=model)

    message = {"role": "assistant", "content": "Hello there"}
    assert without_what_varies(answer) == {"model": model, "message": message, **CLOSING}


async def test_a_stream(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    parts = await node("ollama", "streamedChat", model=model)

    assert [without_what_varies(part) for part in parts] == [
        *({"model": model, "message": {"role": "assistant", "content": word}, "done": False} for word in HELLO),
        {"model": model, "message": {"role": "assistant", "content": ""}, **CLOSING},
    ]


async def test_nothing_that_was_asked_is_lost(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer((*HELLO, Done("length"))))
    options = {"seed": 0, "temperature": 0, "num_predict": 3, "stop": ["END"], "top_k": 1}

    answer = await node("ollama", "chat", model=model, options=options, think=False, keep_alive="5m", format="json")

    assert answer["done_reason"] == "length"
    request = double.asked()[0].request
    assert {name: request["options"].get(name) for name in options} == options
    assert (request["think"], request["format"]) == (False, "json")


async def test_a_generated_text(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    answer = await node("ollama", "generate", model=model, system="Be brief.")

    told = without_what_varies(answer)
    told.pop("context", None)
    assert told == {"model": model, "response": "Hello there", **CLOSING, "prompt_eval_count": 4}
    assert (double.asked()[0].path, double.asked()[0].request["system"]) == ("/api/generate", "Be brief.")


async def test_a_generated_stream(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))

    parts = await node("ollama", "streamedGenerate", model=model)

    assert [part["response"] for part in parts] == [*HELLO, ""]
    assert [part["done"] for part in parts] == [False, False, False, True]


@pytest.mark.parametrize("check", ["chat", "streamedChat"])
async def test_characters_that_look_like_the_end_of_a_line(node: Node, double: RemoteDouble, check: str) -> None:
    model = double.model(Answer(UNUSUAL))

    told = await node("ollama", check, model=model)

    parts = [told] if check == "chat" else told
    assert "".join(part["message"]["content"] for part in parts) == "".join(UNUSUAL)


async def test_what_the_model_thinks(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer((Thinking("Let me "), Thinking("see."), *HELLO)))

    whole = await node("ollama", "chat", model=model, think="high")
    parts = await node("ollama", "streamedChat", model=model, think=True)

    assert (whole["message"]["thinking"], whole["message"]["content"]) == ("Let me see.", "Hello there")
    assert [part["message"].get("thinking") for part in parts] == ["Let me ", "see.", None, None, None, None]
    assert [asked.request["think"] for asked in double.asked()] == ["high", True]


async def test_calls_of_tools(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer((ToolCalls([call("Oslo")]),)))

    answer = await node("ollama", "chatWithTools", model=model)

    assert answer["message"]["tool_calls"] == [call("Oslo")]
    assert double.asked()[0].request["tools"][0]["function"]["name"] == "weather"


async def test_an_image(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))
    await node("ollama", "chat", model=model, messages=[{"role": "user", "content": "?", "images": [IMAGE]}])

    assert double.asked()[0].request["messages"][0]["images"] == [IMAGE]


async def test_embeddings(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer())

    several = await node("ollama", "embed", model=model, input=["one text", "another"])
    short = await node("ollama", "embed", model=model, input="one text", dimensions=8)

    assert several["model"] == model
    assert several["embeddings"] == [embedding_of("one text"), embedding_of("another")]
    assert several["prompt_eval_count"] == 3
    assert short["embeddings"] == [embedding_of("one text", 8)]


async def test_an_embedding_the_old_way(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer())

    assert await node("ollama", "embeddings", model=model, prompt="one text") == {"embedding": embedding_of("one text")}


async def test_models(node: Node, offer: Offer) -> None:
    listed = await node("ollama", "list")
    shown = await node("ollama", "show", model=offer.models[0])
    version = await node("ollama", "version")

    assert {model["name"] for model in listed["models"]} >= set(offer.models)
    assert all(model["digest"] and model["details"]["format"] == "demo" for model in listed["models"])
    assert "completion" in shown["capabilities"]
    assert version == {"version": "0.0.0-demo"}


async def test_models_in_memory(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(HELLO))
    await node("ollama", "chat", model=model)

    running = await node("ollama", "ps")

    assert isinstance(running["models"], list)  # which are loaded is told with the next heartbeat


async def test_a_model_that_there_is_not(node: Node) -> None:
    for check in ("refusedChat", "refusedStream", "refusedShow"):
        error = await node("ollama", check, model="nobody/has-it:1b")
        assert (error["name"], error["status"]) == ("ResponseError", 404)
        assert "nobody/has-it:1b" in error["message"]


async def test_a_key_that_is_not_good(stranger: Node, offer: Offer) -> None:
    error = await stranger("ollama", "refusedChat", model=offer.models[0])

    assert (error["name"], error["status"]) == ("ResponseError", 401)
    assert not error["message"].startswith("{")


async def test_what_is_wrong_with_a_request(node: Node, offer: Offer) -> None:
    error = await node("ollama", "refusedChat", model=offer.models[0], options={"num_predict": "many"})

    assert (error["name"], error["status"]) == ("ResponseError", 400)
    assert "num_predict" in error["message"]


async def test_models_are_managed_by_operators(node: Node, offer: Offer) -> None:
    refusals = await node("ollama", "refusedManagement", model=offer.models[0])

    assert set(refusals) == {"pull", "streamedPull", "push", "create", "copy", "delete"}
    for error in refusals.values():
        assert (error["name"], error["status"]) == ("ResponseError", 403)
        assert error["message"]


async def test_a_model_that_fails(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer((Fail(),)))

    for check in ("refusedChat", "refusedStream"):
        error = await node("ollama", check, model=model)
        assert error["name"] == "ResponseError"
        assert error["status"] >= 500


async def test_a_model_that_fails_in_the_middle(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer(("Hel", "lo", Fail())))

    broken = await node("ollama", "brokenOff", model=model)

    assert broken["words"] == ["Hel", "lo"]
    assert broken["error"]["name"] == "Error"
    assert broken["error"]["message"] != "Did not receive done or success response in stream."


@pytest.mark.parametrize("by", ["client", "stream"])
async def test_a_stream_that_is_left_frees_its_slot(node: Node, double: RemoteDouble, by: str) -> None:
    model = double.model(Answer(("one ", "two ", Hang())))

    async with node.running("ollama", "left", model=model, pieces=2, by=by) as left:
        assert left == {"words": ["one ", "two "], "error": "AbortError"}
        double.until(lambda asked: [each.outcome for each in asked] == ["aborted"], "the model has stopped")


async def test_a_model_is_loaded_and_unloaded(node: Node, double: RemoteDouble) -> None:
    model = double.model(Answer())

    loaded = await node("ollama", "chat", model=model, messages=[])
    unloaded = await node("ollama", "chat", model=model, messages=[], keep_alive=0)

    assert (loaded["done"], loaded["done_reason"], loaded["message"]["content"]) == (True, "load", "")
    assert (unloaded["done"], unloaded["done_reason"]) == (True, "unload")
