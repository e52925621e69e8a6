"""What gateways and workers may do in Redis, and what not, asked of a server that has infra/redis/users.acl.

That they may do all that they need is what every test of tests/end_to_end shows: Redis lists what it refused there.
"""

import re
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from infra.local.logins import Logins
from shared import redis_keys, scripts
from shared.redis_client import connect

DANGEROUS = (
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("SHUTDOWN",),
    ("MONITOR",),
    ("SAVE",),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "worker", "+@all"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "LIST"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "LIST"),
    ("MODULE", "LIST"),
    ("RENAME", "ds:models", "ds:workers"),
    ("MIGRATE", "127.0.0.1", "1", "ds:models", "0", "1"),
    ("PSUBSCRIBE", "ds:*"),
)
NOT_OF_A_WORKER = (
    ("GET", redis_keys.limit("user", "ada")),
    ("SET", redis_keys.limit("user", "ada"), "0"),
    ("DEL", "ds:revoked:session:1"),
    ("ZADD", redis_keys.RESERVED + "llama", "0", "id"),
    ("XADD", redis_keys.tail_key("gateway"), "*", "n", ""),
    ("PUBLISH", "ds:revocations", "session:1"),
    ("SUBSCRIBE", "ds:revocations"),
)
OF_OTHERS = (
    ("GET", "somebody-elses"),
    ("SET", "somebody-elses", "1"),
    ("PUBLISH", "somebody-elses", "1"),
    ("EVAL", "return redis.call('GET', 'somebody-elses')", "0"),
    ("EVAL", "return redis.call('FLUSHALL')", "0"),
    ("EVAL", "return 1", "1", "somebody-elses"),
)


@pytest.fixture
async def operator(redis: Redis) -> AsyncIterator[Redis]:
    """Somebody who may do everything, and clears away what Redis notes of refusals here."""
    yield redis
    await redis.acl_log_reset()


def in_words(command: Sequence[str]) -> str:
    return " ".join(command)


async def refused(url: str, command: Sequence[str]) -> bool:
    async with connect(url, role="test") as client:
        try:
            await client.execute_command(*command)
        except NoPermissionError:
            return True
        except ResponseError as error:
            if "ACL failure in script" in str(error):  # what a script is refused
                return True
            raise
    return False


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("command", [*DANGEROUS, *OF_OTHERS], ids=in_words)
async def test_nobody_who_runs_steers_the_server_or_touches_what_is_of_others(
    redis_logins: Logins, command: Sequence[str]
) -> None:
    assert await refused(redis_logins.gateway, command)
    assert await refused(redis_logins.worker, command)


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("command", NOT_OF_A_WORKER, ids=in_words)
async def test_a_worker_lifts_no_limit_of_requests_and_no_revocation(
    redis_logins: Logins, command: Sequence[str]
) -> None:
    assert await refused(redis_logins.worker, command)
    assert not await refused(redis_logins.gateway, command)


async def test_every_command_of_a_script_is_some_roles(operator: Redis) -> None:
    """A new one is named in users.acl, or no role can run its script."""
    texts = [file.read_text() for file in files(scripts).iterdir() if file.name.endswith(".lua")]
    called = {name.lower() for text in texts for name in re.findall(r"redis\.call\('([A-Z]+)'", text)}
    users = [await operator.acl_getuser(name) for name in ("gateway", "worker")]
    allowed = {command.removeprefix("+") for user in users for command in user["commands"]}
    assert called - allowed == set()


async def test_the_server_keeps_digests_of_passwords(operator: Redis, redis_logins: Logins) -> None:
    listed = " ".join(await operator.acl_list())
    for url in (redis_logins.gateway, redis_logins.worker):
        password = url.partition("@")[0].rpartition(":")[2]
        assert password not in listed
