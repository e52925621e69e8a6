"""Words find the conversations of their owner alone, in titles and messages, and no words break anything."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from shared.database import conversation_search, conversations, messages, users
from shared.database.conversation_search import search
from shared.database.conversations import NEWEST, Place
from shared.database.engine import Database
from shared.database.messages import NewMessage
from shared.database.users import Role, User

SAID = {
    "Sky": ["Why is the sky blue?", "Because of Rayleigh scattering."],
    "Straße": ["Wie heißt die Straße?", "Größenwahn!"],
    "猫": ["猫が好き です", "neko"],
    "Code": ["def main(): return 'O''Brien & co | !x'", "foo_bar-baz https://example.org/path?q=1"],
    "Nothing": [],
}


@pytest.fixture
async def library(database: Database, ada: User) -> User:
    """A user with some conversations, each a minute younger than the one before, beside another with the same."""
    async with database.transaction() as connection:
        bob = await users.create(connection, email="bob@example.org", password_hash="-", role=Role.USER)
        for user in (ada, bob):
            for minute, (title, contents) in enumerate(SAID.items()):
                made = await conversations.create(connection, user.id, title=title)
                assert made is not None
                said = [NewMessage("user", content, None) for content in contents]
                if said:
                    await messages.append(connection, made.id, said, user_id=user.id, after=0)
                at = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
                changed = text("UPDATE conversations SET updated_at = :at WHERE id = CAST(:id AS uuid)")
                await connection.execute(changed, {"at": at, "id": made.id})
    return ada


async def titles(
    database: Database, user: User, words: str, *, after: Place = NEWEST, limit: int = 100
) -> list[str | None]:
    async with database.transaction() as connection:
        found = await search(connection, user.id, words, after=after, limit=limit)
    return [conversation.title for conversation in found]


@pytest.fixture(params=["few", "many", "near"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ways find the same: words that are in few messages, in many, and in the first conversations."""
    if request.param != "near":
        monkeypatch.setattr(conversation_search, "NEAR", 1)
    if request.param == "many":
        monkeypatch.setattr(conversation_search, "FEW", 0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("sky", ["Sky"], id="a word of a title and of a message"),
        pytest.param("RAYLEIGH", ["Sky"], id="a word of a message, in capitals"),
        pytest.param("nothing", ["Nothing"], id="a word of a title alone"),
        pytest.param("blue scattering", [], id="words of two messages"),
        pytest.param("blue sky", ["Sky"], id="words of one message"),
        pytest.param('"sky blue"', ["Sky"], id="a phrase"),
        pytest.param('"blue sky"', [], id="a phrase in another order"),
        pytest.param("sky or neko", ["猫", "Sky"], id="either word, the last active first"),
        pytest.param("sky -blue", ["Sky"], id="without a word, in the title"),
        pytest.param("straße", ["Straße"], id="another language"),
        pytest.param("猫", ["猫"], id="another script"),
        pytest.param("O'Brien", ["Code"], id="a quote"),
        pytest.param("foo_bar-baz", ["Code"], id="a compound"),
        pytest.param("-sky", ["Nothing", "Code", "猫", "Straße", "Sky"], id="only without"),
        pytest.param("!!! ... ()", [], id="punctuation"),
        pytest.param("", [], id="nothing"),
        pytest.param("the", ["Sky"], id="a word that is in many languages left out"),
        pytest.param("%_\\ ' \" --", [], id="what other languages take for code"),
    ],
)
async def test_words_find_conversations(database: Database, library: User, words: str, found: list[str]) -> None:
    assert await titles(database, library, words) == found


@pytest.mark.usefixtures("way")
async def test_pages_follow_each_other(database: Database, library: User) -> None:
    after, found = NEWEST, []
    while True:
        async with database.transaction() as connection:
            page = await search(connection, library.id, "-xyz", after=after, limit=2)
        if not page:
            break
        found += [conversation.title for conversation in page]
        after = Place(page[-1].updated_at, page[-1].id)
    assert found == list(reversed(SAID))


@pytest.mark.usefixtures("way")
async def test_any_text_is_a_query(database: Database, library: User) -> None:
    anything = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=400)
    signs = st.lists(st.sampled_from([*"-\"!()|&:*<> '\\", "or", "a", "sky"]), max_size=200).map("".join)

    @settings(max_examples=200, deadline=None, database=None)
    @given(anything | signs)
    def drawn(words: str) -> None:
        queries.append(words)

    queries: list[str] = ["x" * 400, "\U0001d400" * 400, '"' * 399, "-" * 400, "a|b&c!d:*<->e", "or or or", "(((" * 100]
    drawn()
    for words in queries:
        await titles(database, library, words)
