"""What was answered with 202 comes to its end, whatever dies, is emptied or goes away meanwhile."""

import asyncio

import httpx

from shared import redis_keys
from shared.events import TERMINAL_KINDS
from shared.ids import new_id
from shared.token_log import read_after
from tests.databases import Databases
from tests.end_to_end.client import chat
from tests.end_to_end.stack import SLOTS, Stack
from tests.end_to_end.test_durable_jobs import ASYNC, accept, show, until
from tests.event_stream import EventParser, EventStream
from tests.ollama_double import Answer, Hang, OllamaDouble
from tests.waiting import wait_until

SAGA = "saga:latest"  # of a double and a worker of the test's own


async def until_unstored(stack: Stack, count: int) -> None:
    async def unstored() -> bool:
        return await stack.redis.zcard(redis_keys.UNSTORED) == count

    await wait_until(unstored, description=f"{count} ends wait for PostgreSQL")


async def kinds_of(stack: Stack, job_id: str) -> set[bytes]:
    return {event.kind for batch in await read_after(stack.redis, job_id) for event in batch.split()}


async def test_a_worker_that_is_killed_in_the_middle(stack: Stack) -> None:
    gate = stack.gate()
    double = await stack.add_double(OllamaDouble([SAGA]))
    double.script(SAGA, Answer(("Once", Hang(gate), " upon")))
    doomed = await stack.add_worker(double)
    await stack.until_served(SAGA)
    client = await stack.client()
    job_id = await accept(client, SAGA)

    async def begun() -> bool:
        return (await show(client, job_id))["content"] == "Once"

    await wait_until(begun, description="the answer has begun")

    await stack.add_worker(double)
    await doomed.kill()
    double.release(gate)

    assert (await until(client, job_id, "completed"))["content"] == "Once upon"


async def test_a_worker_that_is_killed_while_redis_is_emptied(stack: Stack) -> None:
    """Readers are told to drop the text and get all of the next one; no id stands for two events."""
    double = await stack.add_double(OllamaDouble([SAGA]))
    double.script(SAGA, Answer(("Lost", " words", Hang())), Answer(("Once", " upon")))
    doomed = await stack.add_worker(double)
    await stack.until_served(SAGA)
    client = await stack.client()
    job_id = await accept(client, SAGA)

    async with client.http.stream("GET", f"/v1/chat/{job_id}/stream") as response:
        attached = EventStream(response)
        await attached.until("chunk")
        last_seen = (await attached.until("chunk")).id or ""
        await doomed.kill()
        await stack.redis.flushall()
        await wait_until(lambda: stack.redis.exists(redis_keys.JOB + job_id), description="the job is queued again")
        headers = {"Last-Event-ID": last_seen}
        async with client.http.stream("GET", f"/v1/chat/{job_id}/stream", headers=headers) as again:
            assert again.status_code == 200
            back = EventStream(again)
            await stack.add_worker(double)
            await attached.rest()
            await back.rest()
    later = await client.http.get(f"/v1/chat/{job_id}/stream", headers=headers)
    new = await client.http.get(f"/v1/chat/{job_id}/stream")
    parsers = [EventParser() for _ in range(2)]
    for parser, response in zip(parsers, (later, new), strict=True):
        assert response.status_code == 200, response.text
        parser.feed(response.content)

    place = [event.type for event in attached.events].index("resumed")
    second = attached.events[place:]
    assert second[0].json == {"attempt": 1, "mode": "restarted"}
    assert "".join(event.json["content"] for event in second if event.type == "chunk") == "Once upon"
    assert [event.type for event in attached.events].count("error") == 0
    assert [event.json["done"] for event in second if event.type == "chunk"].count(True) == 1
    ids = [int(event.id) for event in attached.events if event.id]
    assert ids == sorted(set(ids))
    assert [[event for event in each.events if event.id] for each in (back, *parsers)] == [second] * 3
    assert (await until(client, job_id, "completed"))["content"] == "Once upon"


async def test_a_gateway_that_dies_between_commit_and_enqueue(stack: Stack) -> None:
    model = stack.model(Answer(("Once",)))
    proxy = await stack.add_proxy()
    doomed = await stack.add_gateway(redis_url=proxy.url)
    account = (await stack.client()).account
    headers = {"Authorization": f"Bearer {account.token}", **ASYNC}

    async with httpx.AsyncClient(base_url=doomed.url, timeout=30) as http:
        async with stack.unable_to_accept():
            request = asyncio.create_task(http.post("/v1/chat", json=chat(model), headers=headers))
            await stack.until_one_waits_to_be_accepted()
            proxy.cut()
        response = await request
    assert response.status_code == 202
    await doomed.kill()

    completed = await until(await stack.client(), response.json()["id"], "completed")
    assert completed["content"] == "Once"


async def test_a_redis_that_is_emptied_while_jobs_wait_and_run_and_have_ended(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("Once",)), Answer((Hang(gate), "Once", " more")))
    client = await stack.client()
    ended = await accept(client, model)
    await until(client, ended, "completed")
    running = [await accept(client, model) for _ in range(SLOTS)]
    for job_id in running:
        await until(client, job_id, "running")
    waiting = [await accept(client, model) for _ in range(3)]

    await stack.empty_redis()

    for job_id in waiting:
        assert (await show(client, job_id))["status"] == "queued"
    stack.double.release(gate)
    for job_id in (*running, *waiting):
        assert (await until(client, job_id, "completed"))["content"] == "Once more"
    assert (await show(client, ended))["content"] == "Once"


async def test_their_keys_stand_for_them_again_when_redis_was_emptied(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer((Hang(gate), "Once")))
    client = await stack.client()
    keys = [ASYNC | {"Idempotency-Key": new_id()} for _ in range(SLOTS + 1)]
    accepted = [(await client.chat(model, headers=key)).json()["id"] for key in keys]
    for job_id in accepted[:SLOTS]:
        await until(client, job_id, "running")

    await stack.empty_redis()

    async def restored() -> bool:
        return await stack.redis.exists(*(redis_keys.JOB + job_id for job_id in accepted)) == len(accepted)

    await wait_until(restored, description="Redis has the jobs again")
    again = [await client.chat(model, headers=key) for key in keys]

    assert [(response.status_code, response.json()["id"]) for response in again] == [(202, id_) for id_ in accepted]
    stack.double.release(gate)
    for job_id in accepted:
        await until(client, job_id, "completed")
    assert len(stack.generations(model)) == len(accepted)


async def test_a_job_that_redis_lacks_can_be_deleted_at_once(stack: Stack) -> None:
    model = stack.model(Answer(("Once", Hang())))
    client = await stack.client()
    running = [await accept(client, model) for _ in range(SLOTS)]
    for job_id in running:
        await until(client, job_id, "running")
    waiting = await accept(client, model)

    await stack.redis.flushall()
    response = await client.cancel(waiting)

    assert (response.status_code, response.json()["status"]) == (202, "stopping")
    await until(client, waiting, "cancelled")
    await stack.empty_redis()
    for job_id in running:
        await client.cancel(job_id)
    for job_id in running:
        await until(client, job_id, "cancelled")


async def test_an_answer_that_is_too_old_is_gone(stack: Stack) -> None:
    model = stack.model(Answer(("Once",)))
    client = await stack.client()
    job_id = await accept(client, model)
    await until(client, job_id, "completed")
    await stack.empty_redis()

    await stack.execute("UPDATE jobs SET finished_at = finished_at - interval '8 days' WHERE answer IS NOT NULL")
    await stack.add_gateway()  # it looks for old answers at its start

    async def gone() -> httpx.Response | None:
        response = await client.http.get(f"/v1/chat/{job_id}")
        return response if response.status_code == 410 else None

    response = await wait_until(gone, description="the answer is gone")
    assert response is not None
    assert response.json()["error"]["code"] == "answer_expired"
    assert (await client.cancel(job_id)).json()["error"]["code"] == "answer_expired"


class TestPostgresqlThatDoesNotAnswer:
    async def test_nothing_is_accepted_and_chats_go_on(self, stack: Stack, databases: Databases) -> None:
        model = stack.model(Answer(("Once",)))
        client = await stack.client()
        assert (await client.chat(model)).status_code == 200

        async with databases.frozen():
            refused = await client.chat(model, headers=ASYNC)
            async with client.stream(model) as stream:
                await stream.rest()

        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        assert stream.text == "Once"
        assert len(stack.generations(model)) == 2
        assert not await stack.redis.exists(redis_keys.RESERVED + model)
        await stack.until_recorded(stream.job_id)
        assert (await client.http.get("/v1/chat", params={"status": "queued"})).json()["data"] == []

    async def test_an_end_is_told_when_it_is_stored_and_no_slot_waits_for_that(
        self, stack: Stack, databases: Databases
    ) -> None:
        gate = stack.gate()
        model = stack.model(*[Answer(("Once", Hang(gate), " upon"))] * SLOTS, Answer(("Quick",)))
        client = await stack.client()
        job_ids = [await accept(client, model) for _ in range(SLOTS)]
        for job_id in job_ids:
            await until(client, job_id, "running")

        async with client.http.stream("GET", f"/v1/chat/{job_ids[0]}/stream") as response:
            stream = EventStream(response)
            await stream.until("chunk")
            async with databases.frozen():
                stack.double.release(gate)
                await until_unstored(stack, SLOTS)
                quick = await client.chat(model)
                assert (quick.status_code, quick.json()[0]["content"]) == (200, "Quick")
                for job_id in job_ids:
                    assert not await kinds_of(stack, job_id) & TERMINAL_KINDS
                    assert (await show(client, job_id))["status"] == "running"
            await stream.rest()

        assert stream.text == "Once upon"
        assert stream.events[-1].json["done"]
        for job_id in job_ids:
            await until(client, job_id, "completed")
        await stack.empty_redis()
        for job_id in job_ids:
            assert (await show(client, job_id))["content"] == "Once upon"

    async def test_a_worker_may_die_meanwhile(self, stack: Stack, databases: Databases) -> None:
        gate = stack.gate()
        double = await stack.add_double(OllamaDouble([SAGA]))
        double.script(SAGA, Answer(("Once", Hang(gate), " upon")))
        doomed = await stack.add_worker(double)
        await stack.until_served(SAGA)
        client = await stack.client()
        job_id = await accept(client, SAGA)
        await until(client, job_id, "running")

        async with databases.frozen():
            double.release(gate)
            await until_unstored(stack, 1)
            await doomed.kill()

        assert (await until(client, job_id, "completed"))["content"] == "Once upon"
