"""What cannot be answered is told by a status and in the form of the protocol that is spoken, before a stream opens."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus

import httpx
import pytest

from tests.end_to_end.stack import SLOTS, Stack
from tests.end_to_end.test_cut_stream_is_an_error import BEGINNING
from tests.end_to_end.test_deadlines import UNSERVED, come_and_go
from tests.ollama_double import Answer, End, Hang, OllamaDouble, Step
from tests.surfaces import ALL, COMPATIBLE, NATIVE, OLLAMA, OPENAI, Surface

MUTE = "mute:latest"
SILENCE_MS = 200
BURST = 6
NOBODYS = {"Authorization": "Bearer nobody's"}

compatible = pytest.mark.parametrize("surface", COMPATIBLE, ids=str)
every_other = pytest.mark.parametrize("surface", [each for each in ALL if each is not NATIVE], ids=str)
both_ways = pytest.mark.parametrize("is_stream", [True, False], ids=["a stream", "a whole answer"])


def assert_refused(surface: Surface, response: httpx.Response, status: int, code: str) -> None:
    """See that a response is an error as the surface's clients know it; what is native's 422 is 400 there."""
    expected = HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNPROCESSABLE_ENTITY else status
    assert (response.status_code, response.headers["Content-Type"]) == (expected, "application/json"), response.text
    fault = surface.fault_of(response)
    assert fault.message
    assert fault.code in (code, None)
    assert (fault.code is None) == (surface.path.startswith("/ollama"))
    assert ("Retry-After" in response.headers) == (expected in (429, 503))


@every_other
@both_ways
@pytest.mark.parametrize(("fault", "code", "status"), BEGINNING.values(), ids=BEGINNING.keys())
async def test_what_ollama_fails_of_before_its_first_word(
    stack: Stack, surface: Surface, fault: Step, code: str, status: int, *, is_stream: bool
) -> None:
    model = stack.model(Answer((fault, End())))
    client = await stack.client()

    refused = await (client.ask_in_vain if is_stream else client.ask_whole)(surface, model)

    assert_refused(surface, refused, status, code)


@pytest.fixture
async def mute(stack: Stack) -> AsyncIterator[str]:
    """A model, already loaded, that says nothing to a worker with little patience."""
    async with OllamaDouble([MUTE]) as double:
        async with httpx.AsyncClient(base_url=double.url) as http:
            await http.post("/api/chat", json={"model": MUTE})
        double.script(MUTE, Answer((Hang(),)))
        await stack.add_worker(double, ollama_first_token_timeout_ms=SILENCE_MS, ollama_default_timeout_ms=SILENCE_MS)
        await stack.until_served(MUTE)
        yield MUTE


@both_ways
async def test_silence_of_the_model(stack: Stack, mute: str, *, is_stream: bool) -> None:
    client = await stack.client()

    for surface in COMPATIBLE:
        refused = await (client.ask_in_vain if is_stream else client.ask_whole)(surface, mute)
        assert_refused(surface, refused, 504, "upstream_timeout")


@every_other
@both_ways
async def test_a_model_that_nobody_has(stack: Stack, surface: Surface, *, is_stream: bool) -> None:
    client = await stack.client()

    refused = await (client.ask_in_vain if is_stream else client.ask_whole)(surface, "nobody:has-it")

    assert_refused(surface, refused, 404, "model_not_found")
    assert "nobody:has-it" in refused.text


@every_other
async def test_a_credential_that_is_none(stack: Stack, surface: Surface) -> None:
    refused = await (await stack.client()).ask_in_vain(surface, stack.model(), headers=NOBODYS)

    assert_refused(surface, refused, 401, "unauthenticated")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")


@every_other
async def test_a_key_that_may_not_ask_this_model(stack: Stack, surface: Surface) -> None:
    program = await stack.program(await stack.newcomer(), models=["ada:latest"])
    other = next(model for model in (stack.model(Answer(("text",))) for _ in range(2)) if model != "ada:latest")

    refused = await program.ask_in_vain(surface, other)

    assert_refused(surface, refused, 403, "model_not_allowed")


@compatible
async def test_no_worker_where_jobs_must_not_wait(stack: Stack, surface: Surface) -> None:
    await come_and_go(stack.redis, UNSERVED)
    await stack.until_served()
    client = await stack.client(gateway=await stack.gateway(queue_without_workers=False))

    for refused in (await client.ask_in_vain(surface, UNSERVED), await client.ask_whole(surface, UNSERVED)):
        assert_refused(surface, refused, 503, "no_worker")


@compatible
async def test_waiting_too_long_for_a_worker(stack: Stack, surface: Surface) -> None:
    await come_and_go(stack.redis, UNSERVED)
    await stack.until_served()
    client = await stack.client(gateway=await stack.gateway(queue_timeout_ms=300))

    for refused in (await client.ask_in_vain(surface, UNSERVED), await client.ask_whole(surface, UNSERVED)):
        assert_refused(surface, refused, 504, "expired")


@compatible
async def test_running_too_long(stack: Stack, surface: Surface) -> None:
    model = stack.model(Answer((Hang(),)))
    client = await stack.client(gateway=await stack.gateway(job_timeout_ms=300))

    assert_refused(surface, await client.ask_in_vain(surface, model), 504, "timeout")
    await stack.until_double(model, "aborted")


@compatible
async def test_a_full_queue(stack: Stack, surface: Surface) -> None:
    model = stack.model(Answer((Hang(),)))
    client = await stack.newcomer(gateway=await stack.gateway(queue_max_depth=1))

    async with AsyncExitStack() as streams:
        for _ in range(SLOTS + 1):
            stream = await streams.enter_async_context(client.stream(model))
            await stream.until("queued")
        refused = [await client.ask_in_vain(surface, model), await client.ask_whole(surface, model)]

    for response in refused:
        assert_refused(surface, response, 503, "queue_full")


async def test_a_rate_that_all_surfaces_share(stack: Stack) -> None:
    gateway = await stack.gateway(rate_limit_enabled=True, rate_limit_requests_per_minute=1, rate_limit_burst=BURST)
    model = stack.model(Answer(("text",)))
    client = await stack.newcomer(gateway=gateway)
    for surface in (NATIVE, *COMPATIBLE):
        async with client.ask(surface, model) as answer:
            await answer.rest()
        assert (await client.ask_whole(surface, model)).status_code == 200

    for surface in ALL:
        refused = await client.ask_in_vain(surface, model)
        assert_refused(surface, refused, 429, "rate_limited")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["RateLimit"].startswith('"user";r=0;t=')
        assert ("x-ratelimit-remaining-requests" in refused.headers) == surface.path.startswith("/openai")
    assert len(stack.generations(model)) == BURST


async def test_as_many_streams_and_jobs_as_there_may_be_over_all_surfaces(stack: Stack) -> None:
    gateway = await stack.gateway(
        rate_limit_enabled=True,
        rate_limit_requests_per_minute=10_000,
        rate_limit_address_requests_per_minute=100_000,
        rate_limit_concurrent_jobs=3,
        rate_limit_open_streams=2,
    )
    model = stack.model(Answer(("Once", Hang())))
    client = await stack.newcomer(gateway=gateway)

    async with client.ask(OPENAI, model) as one, client.ask(OLLAMA, model) as other:
        await one.until_text("Once")
        await other.until_text("Once")
        for surface in ALL:
            assert_refused(surface, await client.ask_in_vain(surface, model), 429, "concurrency_limited")


@compatible
async def test_batches_let_others_go_first(stack: Stack, surface: Surface) -> None:
    """Whoever asks by a key for batches; it is served all the same when nobody else waits."""
    gates = [stack.gate() for _ in range(SLOTS + 2)]
    model = stack.model(*(Answer((Hang(gate), gate)) for gate in gates))
    owner, greedy = await stack.newcomer(), await stack.newcomer()
    program = await stack.program(owner, limits={"priority": "batch"})

    async with AsyncExitStack() as streams:
        for _ in range(SLOTS):
            await streams.enter_async_context(greedy.stream(model))
        await stack.until_double(model, *["active"] * SLOTS)
        batch = await streams.enter_async_context(program.ask(surface, model))
        late = await streams.enter_async_context(owner.ask(surface, model))
        for number, gate in enumerate(gates, start=1):
            stack.double.release(gate)
            await stack.until_double(model, *["completed"] * number, *["active"] * min(SLOTS, len(gates) - number))
        texts = [(await answer.rest()).text for answer in (late, batch)]

    assert texts == gates[SLOTS:]
