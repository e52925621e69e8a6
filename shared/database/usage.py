"""Sums over the table `jobs`: what a user has asked for, by UTC day, model and API key."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct
from sqlalchemy import ColumnElement, Select, Text, func, literal, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database.tables import jobs
from shared.jobs import TERMINAL

NO_KEY = "00000000-0000-0000-0000-000000000000"  # sorts what was asked for in a session before every key


class Dimension(StrEnum):
    """What jobs can be counted by; a row is sorted by its values in this order."""

    DAY = "day"  # of admission, UTC
    MODEL = "model"
    KEY = "key"


class Usage(NamedTuple):
    """What belongs together, counted."""

    group: tuple[str, ...]  # the value of each dimension asked for; a day as in ISO 8601
    requests: int
    prompt_tokens: int
    completion_tokens: int
    outcomes: dict[str, int]  # requests by how they ended


_outcomes = sorted(TERMINAL)
_values: dict[Dimension, ColumnElement[Any]] = {
    Dimension.DAY: literal_column("to_char(jobs.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')", Text()),
    Dimension.MODEL: jobs.c.model,
    Dimension.KEY: literal_column(f"CAST(coalesce(jobs.api_key_id, '{NO_KEY}') AS text)", Text()),
}


class Question(Struct, frozen=True, kw_only=True):
    """Which jobs to count, and by what: those that have ended and were admitted within a time."""

    user_id: str
    since: datetime  # the first instant
    until: datetime  # the first instant after that
    by: Sequence[Dimension]  # what rows differ by, in the order of `Dimension`
    after: Sequence[str] | None  # only groups that come after this one; None: all
    limit: int  # most rows


async def count(connection: AsyncConnection, question: Question) -> list[Usage]:
    """Return a row for each group that there is, in order."""
    size = len(question.by)
    return [
        Usage(
            group=tuple(row[:size]),
            requests=row.requests,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            outcomes={outcome: getattr(row, outcome) for outcome in _outcomes},
        )
        for row in await connection.execute(statement(question))
    ]


def statement(question: Question) -> Select[Any]:
    """Return the query that answers."""
    values = [_values[dimension] for dimension in question.by]
    groups = [value.collate("C") for value in values]  # so that order and comparison do not depend on the database's
    counted = (
        select(
            *values,
            func.count().label("requests"),
            func.sum(jobs.c.prompt_tokens).label("prompt_tokens"),
            func.sum(jobs.c.completion_tokens).label("completion_tokens"),
            *(func.count().filter(jobs.c.status == outcome).label(outcome) for outcome in _outcomes),
        )
        .where(jobs.c.user_id == question.user_id)
        .where(jobs.c.created_at >= question.since, jobs.c.created_at < question.until)
        .group_by(*values)
        .order_by(*groups)
        .limit(question.limit)
    )
    if question.after is None:
        return counted
    return counted.where(tuple_(*groups) > tuple_(*(literal(value) for value in question.after)))
