import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.chat.schemas import Message
from gateway.chat.title import MOST_CHARACTERS, title_of


def user(content: str) -> Message:
    return Message(role="user", content=content)


@pytest.mark.parametrize(
    ("messages", "title"),
    [
        pytest.param([user("Why is the sky blue?")], "Why is the sky blue?", id="as it was said"),
        pytest.param([user("  Tell\tme\r\n\na \x00saga\x1b[31m. ")], "Tell me a saga [31m.", id="on one line"),
        pytest.param([user("left\u202eright\u2028on")], "left right on", id="nothing that hides or turns"),
        pytest.param([user("👩‍🚀 می‌خواهم")], "👩‍🚀 می‌خواهم", id="joiners stay"),
        pytest.param([user("word " * 40)], "word " * 14 + "word word…", id="whole words"),
        pytest.param([user("x" * 200)], "x" * 79 + "…", id="one long word"),
        pytest.param([user("short " + "x" * 200)], "short " + "x" * 73 + "…", id="a short word before a long one"),
        pytest.param([user("y" * 80)], "y" * 80, id="just enough room"),
        pytest.param([Message(role="system", content="Be brief."), user("Hi.")], "Hi.", id="not the system's words"),
        pytest.param([user(" \n "), user("Hi.")], "Hi.", id="the first words"),
        pytest.param([user("")], None, id="no words"),
        pytest.param([Message(role="tool", content="42")], None, id="no user"),
    ],
)
def test_a_title_is_the_beginning_of_what_was_asked(messages: list[Message], title: str | None) -> None:
    assert title_of(messages) == title


@given(st.text())
def test_any_text_gives_one_short_line_or_none(text: str) -> None:
    title = title_of([user(text)])
    if title is not None:
        assert 1 <= len(title) <= MOST_CHARACTERS
        assert title == title.strip()
        assert not {unicodedata.category(character) for character in title} & {"Cc", "Zl", "Zp", "Cs"}
