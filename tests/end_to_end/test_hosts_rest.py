"""A host that fails again and again, or is away, is left alone until it is well; nobody else suffers."""

import asyncio

from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, Fail, OllamaDouble

WHOLE = ("Once", " upon", " a time")


async def test_a_model_that_fails_again_and_again_rests_until_it_is_well(stack: Stack) -> None:
    """Its jobs wait meanwhile; other models on the same host are served as ever."""
    double = await stack.add_double(OllamaDouble(["sick", "sound"]))
    await stack.add_worker(double, ollama_breaker_threshold=2)
    await stack.until_served("sick:latest", "sound:latest")
    client = await stack.client()
    double.script("sick", Answer((Fail(),)))

    failed = [await client.chat("sick") for _ in range(2)]
    await stack.until_served("sound:latest")
    double.script("sick", Answer(WHOLE))
    waiting, sound = await asyncio.gather(client.chat("sick"), client.chat("sound"))
    await stack.until_served("sick:latest", "sound:latest")

    assert [response.json()["error"]["code"] for response in failed] == ["upstream_error"] * 2
    assert [waiting.status_code, sound.status_code] == [200, 200]


async def test_jobs_wait_for_a_host_that_is_down_for_a_while(stack: Stack) -> None:
    double = await stack.add_double(OllamaDouble(["gone"]))
    double.script("gone", Answer(WHOLE))
    await stack.add_worker(double)
    await stack.until_served("gone:latest")
    client = await stack.client()
    port = int(double.url.rpartition(":")[2])
    await double.stop()

    async with client.stream("gone") as tried, client.stream("gone") as untried:
        await tried.until("started")  # and found nobody there
        await stack.until_served()
        await double.start(port)
        await asyncio.gather(tried.rest(), untried.rest())

    assert tried.text == untried.text == "".join(WHOLE)


async def test_another_host_serves_while_one_is_down(stack: Stack) -> None:
    one, other = [await stack.add_double(OllamaDouble(["shared"])) for _ in range(2)]
    other.script("shared", Answer(WHOLE))
    await stack.add_worker(one)
    await stack.until_served("shared:latest")
    await one.stop()
    client = await stack.client()

    async with client.stream("shared") as stream:
        await stream.until("started")
        await stack.add_worker(other)
        await stream.rest()

    assert stream.text == "".join(WHOLE)
    assert len(other.state.generations) == 1
