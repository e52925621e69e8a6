"""What a user has asked for is counted by day, model and key, by an index, and in pages that leave nothing out."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from shared.database import jobs, usage, users
from shared.database.engine import Database
from shared.database.usage import NO_KEY, Dimension, Question, Usage
from shared.database.users import Role, User
from shared.ids import new_id
from shared.jobs import JobStatus
from tests.shared.database.test_jobs import finished

MIDNIGHT = datetime(2026, 11, 26, tzinfo=UTC)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
KEY = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000"


def asked(user: User, by: str = "day", **changes: Any) -> Question:  # noqa: ANN401
    question = Question(
        user_id=user.id,
        since=MIDNIGHT - DAY,
        until=MIDNIGHT + DAY,
        by=[Dimension(name) for name in by.split()],
        after=None,
        limit=100,
    )
    return structs.replace(question, **changes)


async def counted(database: Database, question: Question) -> list[Usage]:
    async with database.transaction() as connection:
        return await usage.count(connection, question)


async def store(database: Database, user: User, *rows: dict[str, Any]) -> None:
    async with database.transaction() as connection:
        await jobs.record_finished(connection, [finished(user.id, **row) for row in rows])


async def test_requests_tokens_and_outcomes_are_summed_up(database: Database, ada: User) -> None:
    outcomes = [JobStatus.COMPLETED] * 3 + [JobStatus.FAILED] * 2 + [JobStatus.CANCELLED, JobStatus.EXPIRED]
    await store(
        database,
        ada,
        *({"status": status, "created_at": MIDNIGHT, "prompt_tokens": 2**30} for status in outcomes),
    )

    (row,) = await counted(database, asked(ada))

    assert row == Usage(
        group=("2026-11-26",),
        requests=7,
        prompt_tokens=7 * 2**30,
        completion_tokens=7 * 298,
        outcomes={"completed": 3, "failed": 2, "cancelled": 1, "expired": 1},
    )


async def test_days_begin_at_midnight_utc_and_the_end_does_not_count(database: Database, ada: User) -> None:
    times = [MIDNIGHT - DAY - MOMENT, MIDNIGHT - DAY, MIDNIGHT - MOMENT, MIDNIGHT, MIDNIGHT + DAY]
    await store(database, ada, *({"created_at": time} for time in times))

    assert [(row.group, row.requests) for row in await counted(database, asked(ada))] == [
        (("2026-11-25",), 2),
        (("2026-11-26",), 1),
    ]


async def test_of_others_nothing_is_counted(database: Database, ada: User) -> None:
    async with database.transaction() as connection:
        bob = await users.create(connection, email="bob@example.org", password_hash="-", role=Role.USER)
    await store(database, bob, {"created_at": MIDNIGHT})
    assert await counted(database, asked(ada)) == []


@pytest.mark.parametrize("by", ["day", "model", "key", "day model", "day key", "model key", "day model key"])
async def test_pages_of_every_grouping_leave_nothing_out(database: Database, ada: User, by: str) -> None:
    days, models, keys = [MIDNIGHT - DAY, MIDNIGHT], ["Zebra:1", "a-b:2", "ab:1"], [None, KEY, new_id()]
    await store(
        database,
        ada,
        *({"created_at": day, "model": model, "api_key_id": key} for day, model, key in product(days, models, keys)),
    )
    whole = await counted(database, asked(ada, by))
    assert sum(row.requests for row in whole) == 18
    assert [row.group for row in whole] == sorted({row.group for row in whole})
    assert ("key" in by) == any(NO_KEY in row.group for row in whole)

    pages: list[Usage] = []
    while page := await counted(database, asked(ada, by, limit=2, after=pages[-1].group if pages else None)):
        pages += page
    assert pages == whole


async def test_the_index_finds_the_rows(database: Database, ada: User) -> None:
    """Of 40 users with 500 jobs each, over 100 days, one user's two days are read and nothing else."""
    async with database.transaction() as connection:
        await connection.execute(
            text(
                """
                INSERT INTO users (id, email, password_hash, role)
                SELECT gen_random_uuid(), 'user' || n, '-', 'user' FROM generate_series(1, 40) AS n;
                """
            )
        )
        await connection.execute(
            text(
                """
                INSERT INTO jobs (id, user_id, kind, model, status, prompt_tokens, completion_tokens, queue_ms,
                                  total_ms, attempts, request_id, created_at, finished_at)
                SELECT gen_random_uuid(), users.id, 'chat', 'm', 'completed', 1, 1, 1, 1, 1, 'r', at, at
                FROM users, generate_series(1, 500) AS n,
                     LATERAL (SELECT CAST(:midnight AS timestamptz) - n * interval '288 minutes' AS at) AS times
                """
            ),
            {"midnight": MIDNIGHT},
        )
        await connection.execute(text("ANALYZE jobs"))
        query = usage.statement(asked(ada, "day model key", after=["2026-11-25", "m", NO_KEY])).compile(
            dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}
        )
        plan = "\n".join((await connection.execute(text(f"EXPLAIN {query}".replace(":", "\\:")))).scalars())
    assert "jobs_user_id_created_at_idx" in plan, plan
    assert "Seq Scan" not in plan, plan
