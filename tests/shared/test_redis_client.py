"""Clients of Redis, as the roles have them."""

import asyncio
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.redis_client import connect
from tests.faults.proxy import FaultProxy
from tests.waiting import wait_until

HANG_S = 5.0  # a limit for hanging, not an expectation


async def ask_for_ever(redis: Redis) -> None:
    while True:
        await redis.ping()


@pytest.mark.parametrize("turns", range(12), ids="after {} turns of the loop".format)
async def test_work_that_is_cancelled_ends_at_whatever_moment_that_comes(redis: Redis, turns: int) -> None:
    """`asyncio.wait_for` of Python 3.11, which redis-py sends with, swallows what comes as the sending ends."""
    await redis.ping()
    work = asyncio.create_task(ask_for_ever(redis))
    for _ in range(turns):
        await asyncio.sleep(0)

    work.cancel()

    ended, _ = await asyncio.wait([work], timeout=HANG_S)
    while not work.done():
        work.cancel()
        await asyncio.sleep(0)
    assert ended, "the cancellation was swallowed"


@pytest.mark.parametrize("transaction", [True, False])
async def test_the_error_of_a_pipeline_tells_the_reason_and_not_the_command(redis: Redis, transaction: bool) -> None:  # noqa: FBT001
    """redis-py would quote it whole, and a prompt would be in the log."""
    await redis.set("text", "", px=1000)
    pipeline = redis.pipeline(transaction=transaction)
    pipeline.hset("text", "prompt", "a secret")

    with pytest.raises(ResponseError) as caught:
        await pipeline.execute()

    assert "Operation against a key" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_those_whom_a_server_keeps_waiting_wait_side_by_side() -> None:
    """It accepts connections and says nothing, as one does that is stopped: redis-py connects one after the other."""
    asking = 20
    connections: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read()
        writer.close()

    async def all_have_come() -> bool:
        return len(connections) == asking

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"redis://127.0.0.1:{port}/0", role="test", read_timeout_s=None) as redis:
            asked = [asyncio.create_task(ask_for_ever(redis)) for _ in range(asking)]
            await wait_until(all_have_come, description="everybody waits for the server")
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)


async def test_a_connection_that_breaks_is_an_error_and_made_anew(wire: FaultProxy) -> None:
    async with connect(wire.url, role="test") as redis:
        wire.cut_at_next_reply()
        with pytest.raises(RedisConnectionError):
            await redis.ping()
        with pytest.raises(RedisConnectionError):
            await redis.ping()

        wire.mend()
        assert await redis.ping()


def test_a_connection_that_was_lost_just_now_is_an_error(redis_url: str) -> None:
    """Under uvloop, as gateways and workers run: it raises a RuntimeError for that, of which a worker died."""

    async def send_after_the_loss() -> None:
        async with connect(redis_url, role="test") as redis:
            pool: Any = redis.connection_pool
            connection = await pool.get_connection()
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            await connection.send_command("PING")

    with pytest.raises(RedisConnectionError):
        uvloop.run(send_after_the_loss())


async def test_an_answer_that_does_not_come_is_an_error(wire: FaultProxy) -> None:
    async with connect(wire.url, role="test", read_timeout_s=0.05) as redis:
        await redis.ping()
        wire.hold_replies()
        with pytest.raises(RedisTimeoutError):
            await redis.ping()
        wire.mend()

        assert await redis.ping()


async def test_a_command_that_is_not_read_is_an_error(wire: FaultProxy) -> None:
    """Far more is sent than all the buffers on the way hold."""
    async with connect(wire.url, role="test", read_timeout_s=0.05) as redis:
        await redis.ping()
        wire.hold_requests()
        with pytest.raises(RedisTimeoutError):
            await redis.echo("x" * (32 << 20))


async def test_a_server_that_was_demoted_is_left(redis: Redis, redis_url: str) -> None:
    """It would refuse every writing, as long as the connection lasts; the address may lead to another one now."""
    async with connect(redis_url, role="test") as client:
        await client.set("key", "value", px=60_000)
        before = await client.client_id()
        await redis.replicaof("127.0.0.1", "1")
        try:
            with pytest.raises(RedisConnectionError):
                await client.set("key", "another value", px=60_000)
        finally:
            await redis.replicaof("NO", "ONE")

        assert await client.set("key", "another value", px=60_000)
        assert await client.client_id() != before


async def test_connections_are_named_for_their_role(redis_url: str) -> None:
    async with connect(redis_url, role="one-of-the-tests") as redis:
        assert (await redis.client_info())["name"] == "one-of-the-tests"
