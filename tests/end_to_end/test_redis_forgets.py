"""What a job leaves in Redis expires, and what the user asked is gone with the job's end."""

from redis.asyncio import Redis

from tests.end_to_end.client import PROMPT
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, Cut, Hang

RETENTION_MS = 3_600_000


async def test_after_jobs_of_every_outcome(stack: Stack) -> None:
    """Every test leaves no key without expiry: `Stack.for_one_test` sees to that."""
    model = stack.model(Answer(("text",)), Answer(("text", Cut())), Answer(("text", Hang())))
    client = await stack.client()

    job_ids: list[str] = []
    for _ in range(3):
        async with client.stream(model) as stream:
            await stream.until("chunk")
            if len(job_ids) == 2:
                await client.cancel(stream.job_id)
            await stream.rest()
            job_ids.append(stream.job_id)
    await stack.until_idle()

    for job_id in job_ids:
        keys = await stack.redis.keys(f"*{job_id}*")
        assert sorted(keys) == [f"ds:job:{job_id}".encode(), f"ds:log:{job_id}".encode()]
        lifetimes = [await stack.redis.pttl(key) for key in keys]
        assert 0 < min(lifetimes) <= max(lifetimes) <= RETENTION_MS
    assert not await holds(stack.redis, PROMPT)


async def holds(redis: Redis, text: str) -> bool:
    """Tell whether any value in Redis has a text in it."""
    return any([text.encode() in (await redis.dump(key) or b"") async for key in redis.scan_iter()])
