"""Finds a user's conversations by what they are called and by what was said in them.

Two ways lead to those that were active last (docs/decisions/0017-conversations.md). Words that are in many of the
user's messages are soon met by going through the conversations in the order in which they are listed; so that is tried
first, with a few. Words that are in few messages are looked up in the index over users and words, where many would take
as long as there are.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Uuid, text
from sqlalchemy.exc import InternalError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database.conversations import Conversation, Place, to_conversation

FEW = 2_000  # messages; to look them up takes some 15 ms
NEAR = 50  # conversations; to go through them takes 2 ms, and mostly that is all that it takes
ALL = 1 << 31

# No planner may read what other users have said, however it estimates: an index leads to every row.
_BY_INDEX_ALONE = text("SET LOCAL enable_seqscan = off")

# `simple` knows no language. Any text is a query, if perhaps of no words, which finds nothing.
_QUERY = "(SELECT websearch_to_tsquery('simple', :words))"  # in brackets it is parsed once, and not for every row

# What of a query an index can be asked for: nothing when it has no words, and `T` when it only says what not to have.
_INDEXABLE = text("SELECT querytree(websearch_to_tsquery('simple', :words))")

_IN_FEW_MESSAGES = text(
    f"""
    SELECT conversation_id FROM messages
    WHERE ARRAY[user_id] @> ARRAY[CAST(:user_id AS uuid)] AND search @@ {_QUERY}
    LIMIT {FEW + 1}
    """  # noqa: S608  constants of ours  # nosec B608
)

_IDS = {"id": Uuid(as_uuid=False), "job_id": Uuid(as_uuid=False)}
_COLUMNS = """
    conversations.id, title, created_at, updated_at,
    (SELECT id FROM accepted_jobs WHERE conversation_id = conversations.id) AS job_id
"""
_AFTER = """
    AND (updated_at, conversations.id) < (CAST(:updated_at AS timestamptz), CAST(:id AS uuid))
    ORDER BY updated_at DESC, conversations.id DESC
"""

_THESE = text(
    f"""
    SELECT {_COLUMNS} FROM conversations
    WHERE conversations.id IN (
        SELECT unnest(CAST(:found AS uuid[]))
        UNION
        SELECT id FROM conversations
        WHERE ARRAY[user_id] @> ARRAY[CAST(:user_id AS uuid)] AND search @@ {_QUERY}
    )
    {_AFTER} LIMIT :limit
    """  # noqa: S608  constants of ours  # nosec B608
).columns(**_IDS)

# `ts_match_vq` is what `@@` is, and what no index is asked about: the conversation's own messages are at hand.
_AS_LISTED = text(
    f"""
    SELECT {_COLUMNS} FROM (
        SELECT id, title, created_at, updated_at, search FROM conversations
        WHERE user_id = CAST(:user_id AS uuid) {_AFTER} LIMIT :among
    ) AS conversations
    CROSS JOIN LATERAL (
        SELECT 1 WHERE ts_match_vq(conversations.search, {_QUERY})
        UNION ALL
        SELECT 1 FROM messages
        WHERE messages.conversation_id = conversations.id AND ts_match_vq(messages.search, {_QUERY})
        LIMIT 1
    ) AS hit
    ORDER BY updated_at DESC, conversations.id DESC LIMIT :limit
    """  # noqa: S608  constants of ours  # nosec B608
).columns(**_IDS)


async def search(
    connection: AsyncConnection, user_id: str, words: str, *, after: Place, limit: int
) -> list[Conversation]:
    """Return a user's conversations that have these words in their title or in one message, the last active one first.

    Args:
        connection: In a transaction that has changed nothing.
        user_id: Whose.
        words: As people write them into a search box: all of them, `or`, `-without`, `"as a phrase"`.
        after: They come after this place.
        limit: How many, at most.

    """
    indexable = await _indexable(connection, words)
    if not indexable:
        return []
    await connection.execute(_BY_INDEX_ALONE)
    asked = {"user_id": user_id, "words": words}
    page = {**asked, "updated_at": after.updated_at, "id": after.id, "limit": limit}
    near = await _as_listed(connection, page, among=NEAR)
    if len(near) == limit:
        return near
    found = None if indexable == "T" else list((await connection.execute(_IN_FEW_MESSAGES, asked)).scalars())
    if found is None or len(found) > FEW:
        return await _as_listed(connection, page, among=ALL)
    return [to_conversation(row) for row in await connection.execute(_THESE, {**page, "found": found})]


async def _as_listed(connection: AsyncConnection, page: Mapping[str, Any], *, among: int) -> list[Conversation]:
    """Return those of the next `among` conversations that have the words."""
    return [to_conversation(row) for row in await connection.execute(_AS_LISTED, {**page, "among": among})]


async def _indexable(connection: AsyncConnection, words: str) -> str:
    try:
        return (await connection.execute(_INDEXABLE, {"words": words})).scalar_one()
    except InternalError:  # "tsquery stack too small": more than 32 minus signs without a word between them
        await connection.rollback()
        return ""
