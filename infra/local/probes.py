"""Asks what is running, here or elsewhere, whether it serves; None is yes, and otherwise a few words say why not."""

import asyncpg
import redis.exceptions

from infra.local.http_call import OutOfReachError, call
from shared import redis_client
from shared.registry import read_registry

_TIMEOUT_S = 2
_NO_ADDRESS = (ValueError, OverflowError)  # what the clients raise for a URL like redis://host:port
_REDIS_FAULTS = (redis.exceptions.RedisError, OSError, *_NO_ADDRESS)


async def http_fault(url: str) -> str | None:
    """Ask for `url`, which serves when it answers 2xx."""
    try:
        answer = await call(url)
    except OutOfReachError as error:
        return str(error)
    return None if answer.is_success else f"it answers with status {answer.status}"


async def redis_fault(url: str) -> str | None:
    """Ask a Redis or Valkey, which serves when it lets us in and has loaded its data."""
    try:
        async with redis_client.connect(url, role="probe") as client:
            await client.ping()
    except _REDIS_FAULTS as error:
        return _in_words(error)
    return None


async def postgresql_fault(url: str) -> str | None:
    """Ask a PostgreSQL, which serves when it lets us into the database."""
    try:
        connection = await asyncpg.connect("postgresql://" + url.partition("://")[2], timeout=_TIMEOUT_S)
    except TimeoutError:
        return f"no answer within {_TIMEOUT_S} s"
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, *_NO_ADDRESS) as error:
        return _in_words(error)
    await connection.close()
    return None


async def worker_fault(redis_url: str, pid: int) -> str | None:
    """Look for the worker with this process id, which serves when it has announced itself."""
    try:
        async with redis_client.connect(redis_url, role="probe") as client:
            registry = await read_registry(client)
    except _REDIS_FAULTS as error:
        return _in_words(error)
    return None if any(worker.pid == pid for worker in registry.workers) else "it has not announced itself in Redis"


def _in_words(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(". ") or type(error).__name__
