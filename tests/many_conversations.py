"""Fills a database with conversations of many users, one of whom has very many."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import asyncpg
from msgspec import Struct

from shared.database.messages import MOST_SEARCHED
from shared.ids import new_id

TALKATIVE = "0197c000-0000-7000-8000-000000000001"  # the id of the user who has a fifth of all messages
USUAL = "0197c000-0000-7000-8000-000000000002"  # the id of one of the others
COMMON, RARE = "word1", "needle"  # a word of every other message, and one of a message in ten thousand

_PER_CONVERSATION = 20  # messages
_PER_USER = 400  # of the others
_WORDS = [f"word{rank}" for rank in range(1, 20_001)]
_WEIGHTS = list(accumulate(1 / rank for rank in range(1, 20_001)))  # as words are spread (Zipf)
_WORDS_PER_MESSAGE = 40
_AT_ONCE = 2_000  # conversations
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class _Conversation(Struct, frozen=True):
    id: str
    user_id: str
    number: int


async def fill(database_url: str, *, messages: int, seed: int = 7) -> None:
    """Insert so many messages into an empty schema, with their conversations and users, and gather statistics."""
    connection = await asyncpg.connect(database_url)
    chance = random.Random(seed)
    try:
        users = [TALKATIVE, USUAL, *(new_id() for _ in range(messages * 4 // 5 // _PER_USER - 1))]
        await connection.copy_records_to_table(
            "users",
            columns=["id", "email", "password_hash", "role"],
            records=[(id_, id_, "-", "user") for id_ in users],
        )
        index = "messages_search_idx"
        definition = await connection.fetchval(f"SELECT pg_get_indexdef('{index}'::regclass)")
        await connection.execute(f"DROP INDEX {index}")
        conversations = list(_conversations(users, messages))
        chance.shuffle(conversations)  # what was said by one user is not stored side by side
        for first in range(0, len(conversations), _AT_ONCE):
            await _insert(connection, conversations[first : first + _AT_ONCE], chance)
        await connection.execute(definition)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


def _conversations(users: list[str], messages: int) -> Iterator[_Conversation]:
    for number in range(messages // _PER_CONVERSATION):
        user = TALKATIVE if number % 5 == 0 else users[1 + number // 5 % (len(users) - 1)]
        yield _Conversation(new_id(), user, number)


async def _insert(connection: asyncpg.Connection, some: list[_Conversation], chance: random.Random) -> None:
    await connection.copy_records_to_table(
        "conversations",
        columns=["id", "user_id", "title", "created_at", "updated_at"],
        records=[
            (each.id, each.user_id, _text(chance, 5), _BEGAN, _BEGAN + timedelta(minutes=each.number)) for each in some
        ],
    )
    await connection.copy_records_to_table(
        "messages",
        columns=["conversation_id", "position", "id", "user_id", "role", "content", "status", "searched"],
        records=[
            (
                each.id,
                position,
                new_id(),
                each.user_id,
                role,
                _text(chance, _WORDS_PER_MESSAGE),
                "complete",
                MOST_SEARCHED,
            )
            for each in some
            for position, role in enumerate(("user", "assistant") * (_PER_CONVERSATION // 2), start=1)
        ],
    )


def _text(chance: random.Random, words: int) -> str:
    text = " ".join(chance.choices(_WORDS, cum_weights=_WEIGHTS, k=words))
    return f"{text} {RARE}" if chance.random() < 0.0001 else text
