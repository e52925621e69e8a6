"""A real gateway process for tests that only talk to it."""

from collections.abc import AsyncGenerator

import httpx
import pytest

from tests.databases import Databases
from tests.processes import ProcessStarter, ServerProcess

JWT_SECRET = "a secret of the tests, longer than 32 bytes"


@pytest.fixture(scope="session")
async def gateway(
    databases: Databases, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[ServerProcess]:
    """A gateway with databases of its own; without rate limits, small bodies, and little patience.

    It lives on when other tests use the Redis server, and must not sweep up the jobs that those leave unattended.
    """
    async with databases.fresh() as database_url, ProcessStarter(tmp_path_factory.mktemp("gateway")) as start_process:
        yield await start_process(
            "gateway",
            {
                "DATABASE_URL": database_url,
                "REDIS_URL": f"{redis_server.removesuffix('/0')}/1",
                "JWT_SECRET": JWT_SECRET,
                "RATE_LIMIT_ENABLED": "false",
                "MAX_REQUEST_SIZE_BYTES": "4096",
                "SERVER_READ_TIMEOUT_SECS": "1",
            },
        )


@pytest.fixture
async def client(gateway: ServerProcess) -> AsyncGenerator[httpx.AsyncClient]:
    """An HTTP client of the gateway."""
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        yield client
