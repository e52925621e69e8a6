from collections.abc import AsyncIterator

import pytest

from infra.local.logins import Logins
from tests.databases import Databases
from tests.end_to_end.stack import Stack


@pytest.fixture(scope="package")
async def running_stack(
    databases: Databases, redis_logins: Logins, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """Everything, running; a test asks for `stack`."""
    async with databases.fresh() as database_url:
        logs = tmp_path_factory.mktemp("logs")
        async with Stack(redis=redis_logins, database_url=database_url, logs=logs) as stack:
            yield stack


@pytest.fixture
async def stack(running_stack: Stack) -> AsyncIterator[Stack]:
    """Everything, running and idle, and lent to one test."""
    async with running_stack.for_one_test() as stack:
        yield stack
