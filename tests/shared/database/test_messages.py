"""Any text can be stored and found again in order; pages stay small."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.database import conversations, messages
from shared.database.conversation_search import search
from shared.database.conversations import NEWEST
from shared.database.engine import Database
from shared.database.messages import PAGE_BYTES, NewMessage, Parts, decode_parts, encode_parts
from shared.database.users import User


@pytest.fixture
async def conversation(database: Database, ada: User) -> str:
    async with database.transaction() as connection:
        made = await conversations.create(connection, ada.id, title=None)
    assert made is not None
    return made.id


async def say(database: Database, conversation: str, user: User, *contents: str, after: int = 0) -> None:
    new = [NewMessage("user", content, None) for content in contents]
    async with database.transaction() as connection:
        await messages.append(connection, conversation, new, user_id=user.id, after=after)


async def page(database: Database, conversation: str, *, after: int = 0, limit: int = 100) -> list[int]:
    async with database.transaction() as connection:
        return [each.position for each in await messages.page(connection, conversation, after=after, limit=limit)]


async def test_pages_follow_each_other(database: Database, ada: User, conversation: str) -> None:
    await say(database, conversation, ada, *"abcde")
    assert [await page(database, conversation, after=after, limit=2) for after in (0, 2, 4, 5)] == [
        [1, 2],
        [3, 4],
        [5],
        [],
    ]
    async with database.transaction() as connection:
        assert await messages.last_position(connection, conversation) == 5


async def test_a_page_ends_before_it_grows_too_large_but_has_a_message(
    database: Database, ada: User, conversation: str
) -> None:
    large, huge = "x" * (PAGE_BYTES // 2), "x" * (PAGE_BYTES + 1)
    await say(database, conversation, ada, "a", large, large, huge, huge, "b")
    assert [await page(database, conversation, after=after) for after in (0, 2, 3, 4, 5)] == [
        [1, 2],
        [3],
        [4],
        [5],
        [6],
    ]


WORST = {
    "many short words": " ".join(f"{number:x}" for number in range(40_000)),
    "many letters": " ".join(chr(0x4E00 + number % 20_000) + chr(0x3400 + number % 6_000) for number in range(20_000)),
    "letters that grow in lower case": " ".join(
        f"\u0130{chr(0x10400 + number % 40)}{number}" for number in range(9_000)
    ),
    "one word": "x" * 100_000,
    "one word of four bytes each": "\U00010400" * 100_000,
    "compounds": "-".join(f"{chr(0x10400 + number % 40)}{number:x}" for number in range(20_000)),
    "hosts and paths": " ".join(f"a{number}.example.org/b/{number}?c=d-e-f" for number in range(3_000)),
    "addresses": " ".join(f"a{number}@b{number}.org" for number in range(9_000)),
    "numbers": " ".join(f"-{number}.5e-7" for number in range(9_000)),
    "tags": "<a b='c'>" * 10_000,
    "every single letter": " ".join(map(chr, (*range(0x20, 0xD800), *range(0xE000, 0x110000, 7)))),
}


@pytest.mark.parametrize("text", WORST.values(), ids=WORST.keys())
async def test_no_text_is_too_much_for_the_index(database: Database, ada: User, conversation: str, text: str) -> None:
    await say(database, conversation, ada, text)
    async with database.transaction() as connection:
        (stored,) = await messages.history(connection, conversation)
    assert stored.content == text


async def test_of_much_text_at_once_the_last_is_searched(database: Database, ada: User, conversation: str) -> None:
    """However much there is, it is stored in time."""
    words = (f"{number:x}" for number in range(10_000_000))
    texts = [" ".join(islice(words, 1_000)) for _ in range(2_000)]
    await say(database, conversation, ada, *texts)
    async with database.transaction() as connection:
        for text, is_found in ((texts[-1], True), (texts[-10], True), (texts[0], False)):
            word = text.partition(" ")[0]
            assert bool(await search(connection, ada.id, word, after=NEWEST, limit=1)) == is_found


async def test_any_text_is_stored_as_it_is(database: Database, ada: User, conversation: str) -> None:
    @settings(max_examples=60, deadline=None, database=None)
    @given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
    def drawn(text: str) -> None:
        texts.append(text)

    texts: list[str] = []
    drawn()
    await say(database, conversation, ada, *texts)
    async with database.transaction() as connection:
        assert [each.content for each in await messages.history(connection, conversation)] == texts


def test_parts_come_back_whatever_is_in_them() -> None:
    parts = Parts(thinking="\0\u2028\U0001f600", images=["aGk="], tool_name="look_up")
    stored = encode_parts(parts)
    assert stored is not None
    assert stored.isascii()
    assert decode_parts(stored) == parts
    assert encode_parts(Parts()) is None
    assert decode_parts(None) == Parts()
