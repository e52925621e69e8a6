"""Who is not let in any more reads no further, also on a stream that was open before."""

import asyncio

import httpx

from tests.end_to_end.stack import Stack
from tests.event_stream import EventStream
from tests.ollama_double import Answer, Hang

WORDS = tuple(f"{number} " for number in range(12))


async def test_when_its_user_is_disabled(stack: Stack) -> None:
    """By link and by token alike: the stream ends without its end, and whoever comes back meets a 401."""
    gate = stack.gate()
    model = stack.model(Answer((*WORDS[:5], Hang(gate), *WORDS[5:])))
    disabled, other = await stack.newcomer(), await stack.newcomer()

    async with (
        httpx.AsyncClient() as browser,
        disabled.stream(model) as by_token,
        other.stream(model) as untouched,
    ):
        link = (await by_token.until("queued")).json["stream_url"]
        async with browser.stream("GET", link) as response:
            by_link = EventStream(response)
            for stream in (by_token, by_link, untouched):
                await stream.until("chunk")
            await stack.disable(disabled)
            await asyncio.gather(by_token.rest(), by_link.rest())
        comes_back = await browser.get(link, headers={"Last-Event-ID": by_link.events[-1].id or ""})
        stack.double.release(gate)
        await untouched.rest()

    for stream in (by_token, by_link):
        assert not {event.type for event in stream.events} & {"error"}
        assert stream.text == "".join(WORDS[:5])
    assert (comes_back.status_code, comes_back.json()["error"]["code"]) == (401, "unauthenticated")
    assert untouched.text == "".join(WORDS)
