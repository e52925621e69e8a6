"""The servers and process fixtures that every other test stands on."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from infra.local.errors import StartFailedError
from infra.local.ports import listen_fault
from tests.databases import Databases
from tests.processes import ProcessStarter
from tests.waiting import wait_until

STAND_IN = "tests.infra.local.stand_in"


async def test_postgresql_is_version_18_and_speaks_utf8(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    version = await connection.fetchval("SHOW server_version_num")
    encoding = await connection.fetchval("SHOW server_encoding")
    await connection.close()
    assert int(version) // 10_000 == 18
    assert encoding == "UTF8"


async def test_postgresql_refuses_who_does_not_know_the_password(databases: Databases) -> None:
    stranger = databases.server_url.replace("postgresql://deepersensor:", "postgresql://deepersensor:not-")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(stranger)


async def test_each_test_has_a_database_of_its_own(databases: Databases) -> None:
    async with databases.fresh() as first, databases.fresh() as second:
        in_first = await asyncpg.connect(first)
        in_second = await asyncpg.connect(second)
        await in_first.execute("CREATE TABLE mark (id int)")
        assert await in_second.fetchval("SELECT to_regclass('mark')") is None
        await in_first.close()
        await in_second.close()


async def test_valkey_refuses_who_does_not_know_the_password(redis_url: str) -> None:
    host_and_port = redis_url.rpartition("@")[2]
    async with Redis.from_url(f"redis://{host_and_port}") as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.ping()


async def test_valkey_keeps_everything_and_evicts_nothing(redis_url: str) -> None:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        settings: dict[str, Any] = await client.config_get("*")
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")
    assert settings["maxmemory-policy"] == "noeviction"


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_valkey_is_empty_for_each_test(redis_url: str, turn: str) -> None:
    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("mark", turn)


async def test_a_started_process_serves_and_ends_on_sigterm(start_process: ProcessStarter) -> None:
    process = await start_process(STAND_IN, {})
    assert process.log_lines() == [str(process.pid)]
    await process.stop()
    assert process.exit_code == 0
    assert listen_fault("127.0.0.1", process.port) is None


async def test_a_process_that_cannot_start_says_why(start_process: ProcessStarter) -> None:
    with pytest.raises(StartFailedError, match="ended with code 1: JWT_SECRET is not set"):
        await start_process(STAND_IN, {}, "fail-at-start")


async def test_a_process_that_ends_badly_fails_the_test(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        starter = await stack.enter_async_context(ProcessStarter(tmp_path))
        youngest_but_one = await starter(STAND_IN, {}, "fail-at-end")
        youngest = await starter(STAND_IN, {})
        with pytest.raises(AssertionError, match="ended with 3"):
            await stack.aclose()
    assert (youngest_but_one.exit_code, youngest.exit_code) == (3, 0)


async def test_a_process_gets_no_environment_but_what_the_test_gives(
    start_process: ProcessStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://developer@production/customers")
    process = await start_process(STAND_IN, {"LOG_LEVEL": "DEBUG"})
    environment = psutil.Process(process.pid).environ()
    assert environment["LOG_LEVEL"] == "DEBUG"
    assert "DATABASE_URL" not in environment


async def test_free_port_is_free(free_port: int) -> None:
    assert listen_fault("127.0.0.1", free_port) is None


async def test_wait_until_takes_functions_and_coroutine_functions() -> None:
    answers = iter([0, 0, 7])

    async def following() -> int:
        return next(answers)

    assert await wait_until(following, description="seven comes") == 7
    assert await wait_until(lambda: "here", description="text comes") == "here"


async def test_wait_until_names_what_did_not_come() -> None:
    with pytest.raises(pytest.fail.Exception, match="in vain until pigs fly; the last answer was False"):
        await wait_until(lambda: False, description="pigs fly", timeout_s=0)
