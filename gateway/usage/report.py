"""Counts what a user has asked for."""

from collections.abc import Mapping
from datetime import date

from msgspec import UNSET

from gateway.usage.grouping import Grouping, cursor_at
from gateway.usage.period import Period
from gateway.usage.schemas import Outcomes, UsagePage, UsageRow
from shared.clock import Clock
from shared.database import api_keys, usage
from shared.database.engine import Database
from shared.database.usage import NO_KEY, Dimension, Question, Usage


class UsageReport:
    """Tells users what they have asked for."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def page(self, query: Mapping[str, str], *, user_id: str) -> UsagePage:
        """Return a page of what a user has asked for, as a query says when, by what, and which page.

        Raises:
            InvalidRequestError: A parameter has no such value.
            StoreUnavailableError: PostgreSQL is out of reach.

        """
        period, grouping = Period.of(query, self._clock), Grouping.of(query)
        question = Question(
            user_id=user_id,
            since=period.since,
            until=period.until,
            by=grouping.by,
            after=grouping.after,
            limit=grouping.limit + 1,
        )
        async with self._database.transaction() as connection:
            found = await usage.count(connection, question)
            page = found[: grouping.limit]
            keys = {key for key in (_groups(grouping, row).get(Dimension.KEY) for row in page) if key}
            names = await api_keys.names_of(connection, keys) if keys else {}
        return UsagePage(
            since=period.since,
            until=period.until,
            data=[_to_row(row, _groups(grouping, row), names) for row in page],
            next_cursor=cursor_at(page[-1].group) if len(found) > grouping.limit else None,
        )


def _groups(grouping: Grouping, row: Usage) -> dict[Dimension, str]:
    return dict(zip(grouping.by, row.group, strict=True))


def _to_row(row: Usage, groups: Mapping[Dimension, str], names: Mapping[str, str]) -> UsageRow:
    key, day = groups.get(Dimension.KEY), groups.get(Dimension.DAY)
    return UsageRow(
        day=UNSET if day is None else date.fromisoformat(day),
        model=groups.get(Dimension.MODEL, UNSET),
        api_key_id=UNSET if key is None else None if key == NO_KEY else key,
        api_key_name=UNSET if key is None else names.get(key),
        requests=row.requests,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        outcomes=Outcomes(**row.outcomes),
    )
