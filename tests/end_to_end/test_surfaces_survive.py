"""What breaks under an answer is no matter to clients of other protocols, or it ends with one error in their own form.

They cannot take back what they were shown, and cannot read on elsewhere: so an answer that began anew after its first
word is an error there, and never text that does not belong together.
"""

import asyncio
import contextlib
import signal

import httpx
import pytest

from tests.end_to_end.stack import SLOTS, Stack
from tests.end_to_end.test_answers_go_on import FAULTS, SAGA, WORDS, add_pair
from tests.end_to_end.test_lists_of_jobs import flat
from tests.end_to_end.test_several_gateways import until_refusing
from tests.ollama_double import Answer, Cut, End, Fail, Hang, OllamaDouble, Raw, Step
from tests.surfaces import ALL, COMPATIBLE, NATIVE, Answering, OpenAIReading, Surface

SAID = "".join(WORDS[:4])
HANGS = Answer((*WORDS[:4], Hang()))
BREAKS: dict[str, Step] = {
    "a reset": Cut("rst"),
    "a clean end without done": End(),
    "an error line": Fail(),
    "a malformed line": Raw(b"<html>\n"),
}

chats = pytest.mark.parametrize("surface", [NATIVE, *COMPATIBLE], ids=str)
compatible = pytest.mark.parametrize("surface", COMPATIBLE, ids=str)
every_other = pytest.mark.parametrize("surface", [each for each in ALL if each is not NATIVE], ids=str)
every_surface = pytest.mark.parametrize("surface", ALL, ids=str)


@chats
async def test_when_a_worker_is_killed_its_answers_go_on_at_another(stack: Stack, surface: Surface) -> None:
    double, lost = await add_pair(stack)
    double.script(SAGA, HANGS, Answer(WORDS))

    async with (await stack.client()).ask(surface, SAGA) as answer:
        await answer.until_text(SAID)
        await lost.kill()
        await stack.add_worker(double)
        reading = await answer.rest()

    assert (reading.text, reading.error) == ("".join(WORDS), None)
    assert reading.completion_tokens
    assert reading.completion_tokens >= len(WORDS)


@compatible
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_when_ollama_fails_in_the_middle_the_answer_goes_on(stack: Stack, surface: Surface, fault: Step) -> None:
    double, _ = await add_pair(stack)
    double.script(SAGA, Answer((*WORDS[:4], fault)), Answer(WORDS))

    async with (await stack.client()).ask(surface, SAGA) as answer:
        reading = await answer.rest()

    assert (reading.text, reading.error) == ("".join(WORDS), None)


@every_other
async def test_an_answer_that_begins_anew_ends_with_an_error_and_its_slot_is_free(
    stack: Stack, surface: Surface
) -> None:
    double = await stack.add_double(OllamaDouble([SAGA]))
    lost = await stack.add_worker(double)
    await stack.until_served(SAGA)
    double.script(SAGA, HANGS, Answer((WORDS[0], Hang())), Answer(WORDS))
    client = await stack.client()

    async with client.ask(surface, SAGA) as answer:
        await answer.until_text(SAID)
        await lost.kill()
        await stack.add_worker(double, worker_slots=1)
        await answer.rest()

    assert_broke_off(answer, SAID, "worker_lost")
    await double.until(lambda state: not state.ended_as("active"), "the slot is free")
    assert surface.text_of((await client.ask_whole(surface, SAGA)).json()) == "".join(WORDS)


@compatible
@pytest.mark.parametrize("fault", BREAKS.values(), ids=BREAKS.keys())
async def test_so_it_does_when_ollama_fails_in_the_middle(stack: Stack, surface: Surface, fault: Step) -> None:
    model = stack.model(Answer((*WORDS[:4], fault, End())))

    async with (await stack.client()).ask(surface, model) as answer:
        await answer.rest()

    assert_broke_off(answer, SAID, "worker_lost")


@every_surface
async def test_an_answer_in_one_piece_may_begin_anew(stack: Stack, surface: Surface) -> None:
    model = stack.model(Answer((*WORDS[:4], Cut())), Answer(WORDS))

    response = await (await stack.client()).ask_whole(surface, model)

    assert surface.text_of(response.json()) == "".join(WORDS)


@every_surface
async def test_before_the_first_word_nobody_notices(stack: Stack, surface: Surface) -> None:
    model = stack.model(Answer((Cut(),)), Answer((Fail(),)), Answer(WORDS))

    async with (await stack.client()).ask(surface, model) as answer:
        reading = await answer.rest()

    assert (reading.text, reading.error) == ("".join(WORDS), None)


@every_surface
async def test_when_a_gateway_is_killed_its_streams_are_cut_and_their_jobs_end(stack: Stack, surface: Surface) -> None:
    model = stack.model(HANGS)
    gateway = await stack.add_gateway()

    async with (await stack.client(gateway=gateway)).ask(surface, model) as answer:
        await answer.until_text(SAID)
        await gateway.kill()
        with pytest.raises(httpx.TransportError):
            await answer.rest()

    assert not answer.reading.has_ended
    await stack.until_double(model, "aborted")


@compatible
async def test_a_gateway_that_is_stopped_finishes_its_streams(stack: Stack, surface: Surface) -> None:
    model = stack.model(Answer((*WORDS[:4], Hang(gate := stack.gate()), *WORDS[4:])))
    gateway = await stack.add_gateway()

    async with (await stack.client(gateway=gateway)).ask(surface, model) as answer:
        await answer.until_text(SAID)
        gateway.send(signal.SIGTERM)
        await until_refusing(gateway.url)
        stack.double.release(gate)
        reading = await answer.rest()

    assert (reading.text, reading.error) == ("".join(WORDS), None)
    assert await gateway.wait() == 0


@compatible
async def test_a_gateway_that_cannot_wait_for_the_end_says_so(stack: Stack, surface: Surface) -> None:
    model = stack.model(HANGS)
    gateway = await stack.add_gateway(gateway_drain_secs=1)

    async with (await stack.client(gateway=gateway)).ask(surface, model) as answer:
        await answer.until_text(SAID)
        gateway.send(signal.SIGTERM)
        await answer.rest()

    assert_broke_off(answer, SAID, "draining")
    assert await gateway.wait() == 0
    await stack.until_double(model, "aborted")


@compatible
async def test_who_is_not_let_in_any_more_reads_no_further(stack: Stack, surface: Surface) -> None:
    model = stack.model(HANGS)
    owner = await stack.newcomer()
    program = await stack.program(owner, gateway=stack.gateways[1])

    async with program.ask(surface, model) as answer, owner.ask(surface, model) as other:
        await answer.until_text(SAID)
        await other.until_text(SAID)
        assert (await owner.http.delete(f"/v1/api-keys/{program.account.id}")).status_code == 204
        await answer.rest()
        await stack.until_double(model, "aborted", "active")

    assert_broke_off(answer, SAID, "unauthenticated")
    assert not other.reading.has_ended


@every_surface
async def test_an_abandoned_stream_gives_its_slot_back_at_once(stack: Stack, surface: Surface) -> None:
    """Also where native streams would be waited for: nobody can come back to these."""
    patient = await stack.gateway(disconnect_grace_secs=60) if surface in COMPATIBLE else stack.gateways[0]
    client = await stack.client(gateway=patient)
    model = stack.model(*[HANGS] * SLOTS, Answer(WORDS))

    async with contextlib.AsyncExitStack() as reading:
        for _ in range(SLOTS):
            answer = await reading.enter_async_context(client.ask(surface, model))
            await answer.until_text(SAID)

    assert surface.text_of((await client.ask_whole(surface, model)).json()) == "".join(WORDS)
    await stack.until_double(model, *["aborted"] * SLOTS, "completed")


@compatible
@pytest.mark.parametrize("is_stream", [True, False], ids=["a stream", "a whole answer"])
async def test_who_leaves_before_the_first_word_gives_the_slot_back_too(
    stack: Stack, surface: Surface, *, is_stream: bool
) -> None:
    model = stack.model(Answer((Hang(),)))
    client = await stack.client()
    asking = client.ask_in_vain(surface, model) if is_stream else client.ask_whole(surface, model)

    request = asyncio.create_task(asking)
    await stack.until_double(model, "active")
    request.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await request

    await stack.until_double(model, "aborted")


async def test_a_model_that_thinks_for_long_is_waited_for(stack: Stack) -> None:
    """Before the first word and between two: what comes meanwhile says nothing, and keeps the connection alive."""

    async def ask(surface: Surface, *before: str) -> None:
        gate = stack.gate()
        model = stack.model(Answer((*before, Hang(gate), "at last")))
        async with (await stack.client()).ask(surface, model) as answer:
            await answer.until_text("".join(before))
            await answer.until_heartbeat()
            stack.double.release(gate)
            reading = await answer.rest()
        assert (reading.text, reading.error) == ("".join((*before, "at last")), None)

    await asyncio.gather(*(ask(surface, *before) for surface in COMPATIBLE for before in ((), ("Once, ",))))


@compatible
async def test_a_job_can_be_stopped_while_it_is_read(stack: Stack, surface: Surface) -> None:
    model = stack.model(HANGS)
    client = await stack.newcomer()

    async with client.ask(surface, model) as answer:
        await answer.until_text(SAID)
        (job_id,) = await flat(client, status="running")
        await client.cancel(job_id)
        await answer.rest()

    assert_broke_off(answer, SAID, "cancelled")
    await stack.until_double(model, "aborted")


def assert_broke_off(answer: Answering, text: str, code: str) -> None:
    """See that an answer is told as one that is not whole: by one error, and nothing after it."""
    assert answer.text == text
    assert not answer.reading.is_complete
    assert answer.reading.error is not None
    assert answer.reading.error.message
    assert answer.reading.error.code == (code if isinstance(answer.reading, OpenAIReading) else None)
