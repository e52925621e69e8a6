"""What is deleted is nowhere any more: not in PostgreSQL, not in Redis, and nobody brings it back."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from redis.asyncio import Redis

from tests.end_to_end.client import Client, ask
from tests.end_to_end.stack import SLOTS, Stack
from tests.end_to_end.talking import begin, say, until_answered
from tests.end_to_end.test_conversations import ASYNC, code_of
from tests.ollama_double import Answer, Hang
from tests.waiting import wait_until

SAID, REPLIED = "own words of a user", "own words of a model"


async def everything_in(redis: Redis) -> str:
    """Return all keys and values as text."""
    readers: dict[bytes, Callable[..., Any]] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"stream": redis.xrange,
        b"zset": partial(redis.zrange, start=0, end=-1),
    }
    type_of = cast("Callable[[bytes], Awaitable[bytes]]", redis.type)
    kinds = {key: await type_of(key) for key in await redis.keys()}
    return str([(key, await readers[kind](key)) for key, kind in kinds.items() if kind in readers])


async def until_redis_has_forgotten(stack: Stack) -> None:
    async def forgotten() -> bool:
        known = await everything_in(stack.redis)
        return SAID not in known and REPLIED not in known

    await wait_until(forgotten, description="Redis knows nothing of it")


async def rows_that_know(stack: Stack, job_ids: list[str]) -> list[str]:
    """Return the tables that still hold words, or the payloads of jobs."""
    tables = {
        "conversations": "title ~ 'own words'",
        "messages": "content ~ 'own words'",
        "jobs": "answer ~ 'own words'",
        "accepted_jobs": f"id::text = ANY ('{{{','.join(job_ids)}}}')",
    }
    query = "SELECT count(*) FROM {} WHERE {}"
    return [name for name, words in tables.items() if await stack.count(query.format(name, words))]


async def delete(client: Client, conversation: str) -> int:
    return (await client.http.delete(f"/v1/conversations/{conversation}")).status_code


async def test_one_that_was_answered(stack: Stack) -> None:
    model = stack.model(Answer((REPLIED,)))
    client = await stack.client()
    conversation = await begin(client)
    responses = [await say(client, conversation, model, SAID, headers=ASYNC)]
    await until_answered(client, conversation)
    responses.append(await say(client, conversation, model, SAID))
    job_ids = [responses[0].json()["id"], responses[1].headers["X-Job-Id"]]
    assert await rows_that_know(stack, job_ids) == ["conversations", "messages", "jobs"]

    assert await delete(client, conversation) == 204

    assert await rows_that_know(stack, job_ids) == []
    known = await everything_in(stack.redis)
    assert SAID not in known
    assert REPLIED not in known
    for path in ("", "/messages", "/export"):
        gone = await client.http.get(f"/v1/conversations/{conversation}{path}")
        assert code_of(gone) == (404, "not_found")
    assert code_of(await say(client, conversation, model, SAID)) == (404, "not_found")
    assert await delete(client, conversation) == 404
    for job_id in job_ids:
        assert code_of(await client.http.get(f"/v1/chat/{job_id}")) == (410, "answer_expired")
        assert code_of(await client.http.get(f"/v1/chat/{job_id}/stream")) == (410, "stream_expired")


async def test_one_that_is_being_answered(stack: Stack) -> None:
    model = stack.model(Answer((REPLIED, Hang())))
    client = await stack.client()
    other = await stack.client(gateway=stack.gateways[1])
    conversation = await begin(client)
    async with client.stream(model, messages=ask(SAID), conversation_id=conversation) as stream:
        await stream.until("chunk")
        async with other.http.stream("GET", f"/v1/chat/{stream.job_id}/stream"):
            assert await delete(other, conversation) == 204
            await stream.rest()
    assert stream.events[-1].json["error"]["code"] == "cancelled"

    await stack.until_double(model, "aborted")
    row = await stack.until_recorded(stream.job_id)
    assert (row["status"], row["answer"]) == ("cancelled", None)
    assert await rows_that_know(stack, [stream.job_id]) == []
    await until_redis_has_forgotten(stack)


async def test_one_whose_job_waits(stack: Stack) -> None:
    model = stack.model(Answer((Hang(),)))
    client = await stack.client()
    conversations = [await begin(client) for _ in range(SLOTS + 1)]
    sent = [await say(client, conversation, model, SAID, headers=ASYNC) for conversation in conversations]
    job_ids = [response.json()["id"] for response in sent]
    await stack.until_double(model, *["active"] * SLOTS)

    for conversation in reversed(conversations):
        assert await delete(client, conversation) == 204

    for job_id in job_ids:
        row = await stack.until_recorded(job_id)
        assert (row["status"], row["answer"]) == ("cancelled", None)
    assert await rows_that_know(stack, job_ids) == []
    await until_redis_has_forgotten(stack)
    assert len(stack.generations(model)) == SLOTS


async def test_one_whose_job_redis_has_lost(stack: Stack) -> None:
    model = stack.model(Answer((REPLIED, Hang())))
    client = await stack.client()
    conversations = [await begin(client) for _ in range(SLOTS + 1)]
    sent = [await say(client, conversation, model, SAID, headers=ASYNC) for conversation in conversations]
    job_ids = [response.json()["id"] for response in sent]
    await stack.until_double(model, *["active"] * SLOTS)

    await stack.empty_redis()
    for conversation in reversed(conversations):
        assert await delete(client, conversation) == 204

    for job_id in job_ids:
        assert (await stack.until_recorded(job_id))["answer"] is None
    assert await rows_that_know(stack, job_ids) == []
    await until_redis_has_forgotten(stack)


async def test_one_while_things_are_said_in_it(stack: Stack) -> None:
    """Whichever comes first: in the end there is nothing, and every job has ended."""
    model = stack.model(Answer((REPLIED,)))
    clients = [await stack.client(gateway=gateway) for gateway in stack.gateways]
    for _ in range(10):
        conversation = await begin(clients[0])
        sends = [say(client, conversation, model, SAID, headers=ASYNC) for client in clients * 2]
        deletions = [delete(client, conversation) for client in clients]
        sent, deleted = await asyncio.gather(asyncio.gather(*sends), asyncio.gather(*deletions))

        assert sorted(deleted) == [204, 404]
        assert {response.status_code for response in sent} <= {202, 404, 409}
        for response in sent:
            if response.status_code == 202:
                assert (await stack.until_recorded(response.json()["id"]))["answer"] is None
    assert await rows_that_know(stack, []) == []
    await until_redis_has_forgotten(stack)


async def test_nothing_is_deleted_while_redis_is_away(stack: Stack) -> None:
    model = stack.model(Answer((REPLIED,)))
    proxy = await stack.add_proxy()
    gateway = await stack.add_gateway(redis_url=proxy.url)
    client = await stack.client(gateway=gateway)
    conversation = await begin(client)
    await say(client, conversation, model, SAID)

    proxy.cut()
    refused = await client.http.delete(f"/v1/conversations/{conversation}")
    assert code_of(refused) == (503, "store_unavailable")
    assert await delete(await stack.client(), conversation) == 204
