"""Does several things at once, and fails as the first of them that fails."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*work: Coroutine[Any, Any, object]) -> None:
    """Return when all of `work` is done; when one part raises, the others are cancelled and that is raised as it is."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for part in work:
                tasks.create_task(part)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
