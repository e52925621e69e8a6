"""What the model says reaches the client byte for byte, whatever is in it and however it is cut on the way."""

import json
from typing import Any

import pytest

from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, Raw, Thinking, ToolCalls

HOSTILE = {
    "next line U+0085": "a\u0085b",
    "line separator U+2028": "a\u2028b",
    "paragraph separator U+2029": "a\u2029b",
    "carriage return and newline": "a\r\nb",
    "lone carriage return": "a\rb",
    "form feed and vertical tab": "a\fb\vc",
    "blank lines": "a\n\n\nb\n\n",
    "the end of an OpenAI stream": "data: [DONE]\n\n",
    "an event of our own": '\n\nevent: error\nid: 99\ndata: {"error": {}}\n\n: comment\n\nretry: 1\n\n',
    "NUL and other control characters": "a\x00b\x01c\x1b[31md\x7fe\x9ff",
    "emoji with modifiers": "👩🏽‍💻🏳️‍🌈🇺🇦",
    "combining characters": "e\u0301 o\u0308\u0323 \u0e01\u0e33 नि",
    "right to left and invisible": "\u202eabc\u202c \u200b\ufeff\u2066",
    "quotes and backslashes": '"quoted" \\ \\u0041 \\n </script> <&>',
    "JSON that closes ours": '"},{"content":"x"}],',
    "nothing but a space": " ",
    "the replacement character": "\ufffd",
    "the last code point": "\U0010ffff",
}
EVERYTHING = tuple(HOSTILE.values())
LONG = "".join(EVERYTHING) * 1200  # 320 kB


@pytest.mark.parametrize("token", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_text_inside_a_token(stack: Stack, token: str) -> None:
    model = stack.model(Answer(("before", token, "after")))
    client = await stack.client()

    async with client.stream(model) as stream:
        await stream.rest()
    whole = await client.chat(model)

    assert stream.text == f"before{token}after"
    assert "".join(chunk["content"] for chunk in whole.json()) == f"before{token}after"
    # Some clients split lines at Unicode's line ends, some end strings at NUL: nothing like that is on the wire.
    assert stream.parser.raw.isascii()
    assert set(stream.parser.raw) & set(range(32)) == {ord("\n")}


@pytest.mark.parametrize("sizes", [(1,), (2, 1, 5), (1000, 1)], ids=["byte by byte", "unevenly", "once a kilobyte"])
async def test_writes_cut_inside_characters_and_lines(stack: Stack, sizes: tuple[int, ...]) -> None:
    model = stack.model(Answer(EVERYTHING, write_sizes=sizes))

    async with (await stack.client()).stream(model) as stream:
        await stream.rest()

    assert stream.text == "".join(EVERYTHING)


async def test_a_token_of_300_kilobytes(stack: Stack) -> None:
    model = stack.model(Answer(("before", LONG, "after"), write_sizes=(8191, 1)))
    client = await stack.client()

    async with client.stream(model) as stream:
        await stream.rest()
    whole = await client.chat(model)

    assert stream.text == f"before{LONG}after"
    assert "".join(chunk["content"] for chunk in whole.json()) == f"before{LONG}after"


async def test_thousands_of_tokens(stack: Stack) -> None:
    tokens = tuple(f"{number} " for number in range(5000))
    model = stack.model(Answer(tokens))

    async with (await stack.client()).stream(model) as stream:
        await stream.rest()

    assert stream.text == "".join(tokens)


async def test_characters_that_ollama_left_unescaped(stack: Stack) -> None:
    line = json.dumps({"message": {"content": "".join(EVERYTHING)}, "done": False}, ensure_ascii=False)
    model = stack.model(Answer((Raw(f"{line}\n".encode()),)))

    async with (await stack.client()).stream(model) as stream:
        await stream.rest()

    assert stream.text == "".join(EVERYTHING)


async def test_half_of_a_surrogate_pair_becomes_the_replacement_character(stack: Stack) -> None:
    """It is no text and cannot be sent on; the rest of the answer is not lost for it."""
    model = stack.model(Answer((Raw(rb'{"message":{"content":"a\ud83db"},"done":false}' + b"\n"), "c")))

    async with (await stack.client()).stream(model) as stream:
        await stream.rest()

    assert stream.text == "a\ufffdbc"


async def test_thoughts_and_tool_calls_are_passed_through(stack: Stack) -> None:
    calls: list[Any] = [
        {"function": {"index": 0, "name": "weather", "arguments": {"city": "Zürich\u2028", "days": 0, "exact": 1.0}}},
        {"id": "call_2", "function": {"name": "noop", "arguments": {}}},
    ]
    model = stack.model(Answer((Thinking("hm\u0085"), Thinking("so"), "It is", ToolCalls(calls))))
    client = await stack.client()

    async with client.stream(model, think=True, tools=[{"type": "function"}]) as stream:
        events = await stream.rest()
    chunks = (await client.chat(model, think=True, tools=[{"type": "function"}])).json()

    said = [{name: value for name, value in chunk.items() if name != "model"} for chunk in chunks[:-1]]
    assert said == [
        {"content": "", "done": False, "thinking": "hm\u0085"},
        {"content": "", "done": False, "thinking": "so"},
        {"content": "It is", "done": False},
        {"content": "", "done": False, "tool_calls": calls},
    ]
    assert [event.json for event in events if event.type == "chunk"][:-1] == chunks[:-1]


async def test_numbers_in_tool_calls_keep_their_digits(stack: Stack) -> None:
    arguments = '{"long": 123456789012345678901234567890, "fine": 0.10000000000000000001, "text": "ü"}'
    line = '{"message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":%s}}]},"done":false}\n'
    model = stack.model(Answer((Raw((line % arguments).encode()),)))

    async with (await stack.client()).stream(model) as stream:
        await stream.rest()

    assert arguments.replace("ü", "\\u00fc") in stream.parser.raw.decode()
