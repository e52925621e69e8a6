"""Gives a conversation a title: the beginning of what was asked first, on one line."""

import unicodedata
from collections.abc import Iterable

from gateway.chat.schemas import Message

MOST_CHARACTERS = 80
_AMONG_WORDS = 40  # a cut may cost at most as much as this of the room for the sake of whole words
_JOINERS = "\u200c\u200d"  # format characters that emoji and some scripts are written with


def title_of(messages: Iterable[Message]) -> str | None:
    """Return a title; None: the user has said nothing with words yet."""
    for message in messages:
        if message.role == "user" and (line := _one_line(message.content)):
            return _shortened(line)
    return None


def _one_line(text: str) -> str:
    beginning = text[: 16 * MOST_CHARACTERS]
    return " ".join("".join(map(_visible, beginning)).split())


def _visible(character: str) -> str:
    """Return a character, but a space for one that ends lines, hides, or turns the direction of what follows."""
    is_control = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return " " if is_control and character not in _JOINERS else character


def _shortened(line: str) -> str:
    if len(line) <= MOST_CHARACTERS:
        return line
    room = line[:MOST_CHARACTERS]  # one more than fits beside the ellipsis: a word may end just there
    whole_words = room.rpartition(" ")[0]
    return (whole_words if len(whole_words) >= MOST_CHARACTERS - _AMONG_WORDS else room[:-1]) + "…"
