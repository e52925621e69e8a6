"""How PostgreSQL goes about a statement of ours: its plan, from what the code really sends."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.database.engine import Database

_LONG_ARRAY = re.compile(r"\{[^{}]{80,}\}")


async def plans_of(
    database: Database, work: Callable[[AsyncConnection], Awaitable[object]], *, analyze: bool = False
) -> list[str]:
    """Do some work, undo it, and return the plans of its statements but for those that set something.

    Args:
        database: With data.
        work: Runs statements.
        analyze: Whether each is run once more for its plan, with the time that it takes.

    """
    sent: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:  # noqa: ANN401
        sent.append((statement, parameters))

    async with database.transaction() as connection:
        listened = connection.sync_connection
        event.listen(listened, "before_cursor_execute", note)
        await work(connection)
        event.remove(listened, "before_cursor_execute", note)
        plans = [await _plan(connection, *each, analyze=analyze) for each in sent if not each[0].startswith("SET ")]
        await connection.rollback()
        return plans


async def _plan(connection: AsyncConnection, statement: str, parameters: Any, *, analyze: bool) -> str:  # noqa: ANN401
    explain = "EXPLAIN (ANALYZE) " if analyze else "EXPLAIN "
    rows = await connection.exec_driver_sql(explain + statement, parameters)
    return _LONG_ARRAY.sub("{…}", "\n".join(rows.scalars()))
