"""A stream can be read again and further: from any gateway, by anybody who may, while it runs and when it has ended."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest

from shared.ids import new_id
from tests.end_to_end.client import Client
from tests.end_to_end.stack import Stack
from tests.event_stream import EventStream, SentEvent
from tests.ollama_double import Answer, Hang
from tests.processes import ServerProcess

WORDS = tuple(f"{number} " for number in range(12))


@pytest.fixture(params=["the same gateway", "another gateway"])
def elsewhere(stack: Stack, request: pytest.FixtureRequest) -> ServerProcess:
    """Where the stream is read the second time; the first time it is the first gateway."""
    return stack.gateways[0 if request.param == "the same gateway" else 1]


async def test_in_the_middle_of_the_answer(stack: Stack, elsewhere: ServerProcess) -> None:
    """Nothing is missing and nothing comes twice, as if the connection had never been cut."""
    gate = stack.gate()
    model = stack.model(Answer((*WORDS[:5], Hang(gate), *WORDS[5:])))
    patient = await stack.gateway(disconnect_grace_secs=60)
    client = await stack.client(gateway=patient)
    async with client.stream(model) as cut:
        for _ in range(3):
            await cut.until("chunk")

    async with resumed(await stack.client(gateway=elsewhere), cut.job_id, cut.events[-1].id) as rest:
        stack.double.release(gate)
        await rest.rest()

    assert cut.text + rest.text == "".join(WORDS)
    ids = [int(event.id) for event in (*cut.events, *rest.events) if event.id]
    assert ids == list(range(1, len(WORDS) + 3))
    assert rest.parser.retry_ms == 1000


async def test_by_many_readers_from_the_start(stack: Stack) -> None:
    gate = stack.gate()
    model = stack.model(Answer((WORDS[0], Hang(gate), *WORDS[1:])))
    clients = [await stack.client(gateway=gateway) for gateway in stack.gateways]

    async def read(client: Client, job_id: str, has_begun: asyncio.Event) -> list[SentEvent]:
        async with resumed(client, job_id) as stream:
            await stream.until("chunk")
            has_begun.set()
            return await stream.rest()

    async with clients[0].stream(model) as first, asyncio.TaskGroup() as readers:
        await first.until("chunk")
        begun = [asyncio.Event() for _ in range(20)]
        reading = [
            readers.create_task(read(clients[number % 2], first.job_id, event)) for number, event in enumerate(begun)
        ]
        await asyncio.gather(*(event.wait() for event in begun))
        stack.double.release(gate)
        await first.rest()

    logged = [event for event in first.events if event.id]
    assert [reader.result() for reader in reading] == [logged] * 20


async def test_when_it_has_ended(stack: Stack, elsewhere: ServerProcess) -> None:
    model = stack.model(Answer(WORDS))
    async with (await stack.client()).stream(model) as first:
        await first.rest()
    logged = [event for event in first.events if event.id]
    client = await stack.client(gateway=elsewhere)

    async with resumed(client, first.job_id) as whole:
        assert await whole.rest() == logged
    async with resumed(client, first.job_id, logged[4].id) as part:
        assert await part.rest() == logged[5:]
    at_the_end = await read_again(client, first.job_id, {"Last-Event-ID": logged[-1].id or ""})
    assert (at_the_end.status_code, at_the_end.content) == (204, b"")


async def test_while_it_still_waits(stack: Stack, elsewhere: ServerProcess) -> None:
    """The reader is told its place in the queue, and everything from `started` on when it begins."""
    gate = stack.gate()
    model = stack.model(
        Answer((Hang(gate),)), Answer((Hang(gate),)), Answer((Hang(gate),)), Answer((Hang(gate),)), Answer(WORDS)
    )
    client = await stack.client()
    ahead = [asyncio.create_task(client.chat(model)) for _ in range(4)]
    await stack.double.until(lambda _: len(stack.generations(model)) == 4, "all slots are taken")

    async with client.stream(model) as first:
        announced = await first.until("queued")
        async with resumed(await stack.client(gateway=elsewhere), first.job_id) as second:
            queued = await second.until("queued")
            stack.double.release(gate)
            await asyncio.gather(first.rest(), second.rest())
    await asyncio.gather(*ahead)

    assert (queued.id, queued.json["position"]) == (None, announced.json["position"])
    assert [event for event in second.events if event.id] == [event for event in first.events if event.id]


@pytest.mark.parametrize("last_event_id", ["x", "-1", "1.5", "٣", "9999999999", "1" * 40])
async def test_from_where_no_event_is(stack: Stack, last_event_id: str) -> None:
    client, job_id = await ended_job(stack)

    by_query = await client.http.get(f"/v1/chat/{job_id}/stream", params={"last_event_id": last_event_id})

    assert (by_query.status_code, by_query.json()["error"]["code"]) == (400, "invalid_event_id")


async def test_the_header_comes_before_the_query(stack: Stack) -> None:
    """As `EventSource` sends it when it reconnects to a URL that had a place in it."""
    client, job_id = await ended_job(stack)

    async with resumed(client, job_id, "2", query="?last_event_id=1") as stream:
        events = await stream.rest()

    assert events[0].id == "3"


async def test_of_somebody_else_or_of_nobody(stack: Stack) -> None:
    """The answers do not tell the two apart."""
    _, job_id = await ended_job(stack)
    stranger = await stack.newcomer()

    answers = [await read_again(stranger, id_) for id_ in (job_id, new_id(), "not-an-id")]

    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [(404, "not_found")] * 3
    assert len({answer.json()["error"]["message"] for answer in answers}) == 1


async def test_that_is_not_kept_any_more(stack: Stack) -> None:
    client, job_id = await ended_job(stack)
    await stack.until_recorded(job_id)
    await stack.redis.delete(f"ds:job:{job_id}", f"ds:log:{job_id}")  # as their expiry would

    expired = await read_again(client, job_id)
    of_somebody_else = await read_again(await stack.newcomer(), job_id)

    assert (expired.status_code, expired.json()["error"]["code"]) == (410, "stream_expired")
    assert of_somebody_else.status_code == 404


async def test_by_its_link_alone(stack: Stack) -> None:
    """The link reads this one stream, and nothing else."""
    model = stack.model(Answer(WORDS))
    async with (await stack.client()).stream(model) as first:
        link = (await first.until("queued")).json["stream_url"]
        await first.rest()
    _, other_job = await ended_job(stack)

    async with httpx.AsyncClient() as http:
        whole = await http.get(link)
        tampered = await http.get(link[:-4] + "AAAA")
        other = await http.get(link.replace(first.job_id, other_job))
        as_bearer = await http.get(
            f"{stack.gateways[0].url}/v1/auth/me", headers={"Authorization": f"Bearer {link.partition('token=')[2]}"}
        )

    assert link.startswith(f"{stack.gateways[0].url}/v1/chat/{first.job_id}/stream?")
    assert whole.text.count("event: chunk") == len(WORDS) + 1
    assert [answer.status_code for answer in (tampered, other, as_bearer)] == [401, 401, 401]
    assert not any(link.partition("token=")[2] in line for line in stack.log_lines())


async def test_keeps_the_job_alive_when_the_first_reader_has_gone(stack: Stack) -> None:
    """Its last reader counts, at whichever gateway."""
    gate = stack.gate()
    model = stack.model(Answer((WORDS[0], Hang(gate), *WORDS[1:])))
    client = await stack.client()
    other = await stack.client(gateway=stack.gateways[1])

    async with client.stream(model) as first:
        await first.until("chunk")
        async with resumed(other, first.job_id) as second:
            await second.until("chunk")
            await first.response.aclose()
            await stack.until_left(first.job_id, readers=1)
            stack.double.release(gate)
            await second.rest()

    assert second.text == "".join(WORDS)


async def test_at_another_gateway_when_the_first_one_is_stopped(stack: Stack) -> None:
    """It sends streams away at once, and finishes what cannot go on elsewhere."""
    gate = stack.gate()
    model = stack.model(Answer((*WORDS[:5], Hang(gate), *WORDS[5:])))
    stopped = await stack.add_gateway(disconnect_grace_secs=60)
    client = await stack.client(gateway=stopped)
    whole = asyncio.create_task(client.chat(model))
    await stack.double.until(lambda _: len(stack.generations(model)) == 1, "the whole answer is asked for")

    async with client.stream(model) as sent_away:
        await sent_away.until("chunk")
        stopped.send(signal.SIGTERM)
        await sent_away.rest()
    async with resumed(await stack.client(), sent_away.job_id, sent_away.events[-1].id) as rest:
        stack.double.release(gate)
        await rest.rest()

    assert sent_away.parser.retry_ms == 250
    assert sent_away.text + rest.text == "".join(WORDS)
    ids = [int(event.id) for event in (*sent_away.events, *rest.events) if event.id]
    assert ids == list(range(1, len(WORDS) + 3))
    assert "".join(chunk["content"] for chunk in (await whole).json()) == "".join(WORDS)
    assert await stopped.wait() == 0


async def ended_job(stack: Stack) -> tuple[Client, str]:
    """Have a job answered and return its owner and its id."""
    client = await stack.client()
    response = await client.chat(stack.model(Answer(("text",))))
    return client, response.headers["X-Job-Id"]


async def read_again(client: Client, job_id: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """Read a job's stream to its end."""
    return await client.http.get(f"/v1/chat/{job_id}/stream", headers=headers)


@asynccontextmanager
async def resumed(
    client: Client, job_id: str, last_event_id: str | None = None, *, query: str = ""
) -> AsyncGenerator[EventStream]:
    """Read a job's stream again, or further, inside the block."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with client.http.stream("GET", f"/v1/chat/{job_id}/stream{query}", headers=headers) as response:
        if not response.is_success:
            await response.aread()
        assert response.status_code == 200, response.text
        yield EventStream(response)
