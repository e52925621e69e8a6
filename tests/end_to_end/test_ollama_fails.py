"""One host fails, in every way a host can: the other one gives the whole answer, or there is one clean error."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.job_queue import JobQueue
from shared.jobs import JobStatus
from tests.end_to_end.stack import Stack
from tests.event_stream import EventStream
from tests.ollama_double import BUSY, Answer, Cut, End, Fail, Hang, Headers, OllamaDouble, Raw, Step
from tests.waiting import wait_until

MODELS = tuple(
    f"twin-{number}:latest" for number in range(30)
)  # one for each test: what failed in another is forgotten
WHOLE = ("Once", " upon", " a time")
DEADLINE_MS = 600

BEFORE: dict[str, tuple[Step, ...]] = {
    "busy": (BUSY,),
    "busy for a while": (Fail("server busy", status=503, retry_after="3600"),),
    "too many requests": (Fail("slow down", status=429, retry_after="1"),),
    "an error of its own": (Fail(status=500),),
    "a bad gateway before it": (Fail("bad gateway", status=502),),
    "a reset before the headers": (Cut("rst"),),
    "a closed connection before the headers": (Cut("fin"),),
    "a reset after the headers": (Headers(), Cut("rst")),
    "silence": (Hang(),),
    "headers, then silence": (Headers(), Hang()),
    "an error line before any token": (Headers(), Fail()),
    "a clean end without a word": (End(),),
    "garbage": (Raw(b"<html>\n"),),
}
MIDDLE: dict[str, tuple[Step, ...]] = {
    "a reset": (Cut("rst"),),
    "a closed connection": (Cut("fin"),),
    "a stall": (Hang(),),
    "a malformed line": (Raw(b"<html>\n"),),
    "half a line": (Raw(b'{"message":{"content":"lost'), End()),
    "an error line": (Fail(),),
    "a clean end without done": (End(),),
}
BUSY_MODEL = "busy:latest"
REFUSALS: dict[str, tuple[Step, str]] = {
    "400": (Fail("invalid options", status=400), "upstream_rejected"),
    "404": (Fail("model 'twin' not found, try pulling it first", status=404), "model_not_found"),
    "a prompt longer than the context": (
        Fail("the prompt is longer than the context length currently available", status=400),
        "context_length_exceeded",
    ),
}


class Twins:
    """Two workers with a host each; what is scripted is said once, by whichever host is asked."""

    def __init__(self, *hosts: OllamaDouble) -> None:
        self._hosts = hosts
        self._models = iter(MODELS)

    def model(self, *answers: Answer) -> str:
        """Return the name of a model that both hosts have, and that gives these answers."""
        name = next(self._models)
        self._hosts[0].script(name, *answers)
        return name

    def asked(self, model: str) -> list[int]:
        """Return how often each host was asked for an answer of this model."""
        return [sum(seen.model == model for seen in host.state.generations) for host in self._hosts]


@pytest.fixture(scope="module")
async def running_twins(running_stack: Stack) -> AsyncIterator[Twins]:
    """Two hosts whose models are loaded, and their workers."""
    async with OllamaDouble(MODELS) as one, OllamaDouble(MODELS, twin=one) as other:
        for host in (one, other):
            async with httpx.AsyncClient(base_url=host.url) as http:
                for model in MODELS:
                    await http.post("/api/chat", json={"model": model})
        deadlines = {"ollama_first_token_timeout_ms": DEADLINE_MS, "ollama_default_timeout_ms": DEADLINE_MS}
        async with running_stack.workers_beside(one, other, ollama_retry_delay_ms=200, **deadlines):
            await running_stack.until_served(*MODELS)
            yield Twins(one, other)
    await running_stack.until_served()


@pytest.fixture
def twins(stack: Stack, running_twins: Twins) -> Twins:
    """Two hosts and their workers."""
    del stack  # it sees to it that the test leaves all idle
    return running_twins


async def assert_answered_by_the_other(stack: Stack, twins: Twins, model: str, stream: EventStream) -> None:
    """See that the text is whole, told of once in usage and books, and that each host was asked once."""
    closing = stream.events[-1].json
    assert closing["done"] is True
    assert closing["usage"]["completion_tokens"] == len(WHOLE)
    assert twins.asked(model) == [1, 1]
    row = await stack.until_recorded(stream.job_id)
    assert (row["status"], row["attempts"], row["error_code"]) == ("completed", 2, None)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (closing["usage"]["prompt_tokens"], len(WHOLE))


@pytest.mark.parametrize("fault", BEFORE.values(), ids=BEFORE.keys())
async def test_before_the_first_token_nobody_notices(stack: Stack, twins: Twins, fault: tuple[Step, ...]) -> None:
    model = twins.model(Answer(fault), Answer(WHOLE))

    async with (await stack.client()).stream(model) as stream:
        events = await stream.rest()

    assert stream.text == "".join(WHOLE)
    assert [event.json["attempt"] for event in events if event.type == "started"] == [1, 2]
    assert {event.type for event in events} == {"queued", "started", "chunk"}
    await assert_answered_by_the_other(stack, twins, model, stream)


@pytest.mark.parametrize("fault", MIDDLE.values(), ids=MIDDLE.keys())
async def test_after_it_the_other_host_takes_over(stack: Stack, twins: Twins, fault: tuple[Step, ...]) -> None:
    model = twins.model(Answer(("Half", *fault)), Answer(WHOLE))

    async with (await stack.client()).stream(model) as stream:
        events = await stream.rest()

    (resumed,) = [event for event in events if event.type == "resumed"]
    assert resumed.json == {"attempt": 2, "mode": "restarted"}
    after = events[events.index(resumed) + 1 :]
    assert "".join(event.json["content"] for event in after) == "".join(WHOLE)
    assert [event.id for event in events if event.id] == [str(n + 1) for n in range(len(WHOLE) + 4)]
    await assert_answered_by_the_other(stack, twins, model, stream)


async def test_whole_answers_hold_nothing_of_the_half(stack: Stack, twins: Twins) -> None:
    model = twins.model(Answer(("Half", Cut())), Answer(WHOLE))

    response = await (await stack.client()).chat(model)

    assert [chunk["content"] for chunk in response.json()] == [*WHOLE, ""]


@pytest.mark.parametrize(("refusal", "code"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_what_is_refused_is_asked_once(stack: Stack, twins: Twins, refusal: Step, code: str) -> None:
    model = twins.model(Answer((refusal,)), Answer(WHOLE))

    async with (await stack.client()).stream(model) as stream:
        events = await stream.rest()

    assert [event.type for event in events if event.type != "queued"] == ["started", "error"]
    assert events[-1].json["error"]["code"] == code
    assert sorted(twins.asked(model)) == [0, 1]
    assert (await stack.until_recorded(stream.job_id))["attempts"] == 1


async def test_three_failures_are_one_error_that_of_the_last(stack: Stack, twins: Twins) -> None:
    model = twins.model(Answer((Fail(),)), Answer(("Half", Cut())), Answer((BUSY,)))

    async with (await stack.client()).stream(model) as stream:
        events = await stream.rest()

    assert [event.type for event in events if event.type != "queued"] == [
        *("started", "started", "chunk", "resumed", "error")
    ]
    assert events[-1].json["error"]["code"] == "upstream_busy"
    assert sum(twins.asked(model)) == 3
    row = await stack.until_recorded(stream.job_id)
    assert (row["status"], row["attempts"], row["error_code"]) == ("failed", 3, "upstream_busy")
    assert row["prompt_tokens"] > 0
    assert row["completion_tokens"] == 1  # the half that there was


async def busy_host(stack: Stack) -> OllamaDouble:
    """Return a host of the test's own that has one model, and is busy: it is left alone for a minute, for all tests."""
    double = OllamaDouble([BUSY_MODEL])
    double.script(BUSY_MODEL, Answer((Fail("server busy", status=503, retry_after="60"),)))
    await stack.add_worker(await stack.add_double(double))
    http = (await stack.client()).http

    async def is_served() -> bool:
        return BUSY_MODEL in (await http.get("/v1/models")).json()

    await wait_until(is_served, description="the host's model is announced")
    return double


async def test_a_job_that_waits_for_its_next_attempt_can_be_cancelled(stack: Stack) -> None:
    double = await busy_host(stack)
    client = await stack.client()

    async with client.stream(BUSY_MODEL) as stream:
        await stream.until("started")
        await until_queued(stack, stream.job_id)
        cancelled = await client.cancel(stream.job_id)
        events = await stream.rest()

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert events[-1].json["error"]["code"] == "cancelled"
    assert len(double.state.generations) == 1


async def test_a_job_whose_time_is_up_before_its_next_attempt_ends_with_what_the_last_one_failed_of(
    stack: Stack,
) -> None:
    double = await busy_host(stack)

    async with (await stack.client()).stream(BUSY_MODEL, timeout_ms=500) as stream:
        events = await stream.rest()

    assert [event.type for event in events if event.type != "queued"] == ["started", "error"]
    assert events[-1].json["error"]["code"] == "upstream_busy"
    assert len(double.state.generations) == 1


async def test_all_attempts_together_take_no_longer_than_the_job_may(stack: Stack) -> None:
    """What is left of `timeout_ms` after a failure is all that the next attempt has."""
    gate = stack.gate()
    model = stack.model(Answer((Hang(gate), Fail())), Answer((Hang(),)))

    async with (await stack.client()).stream(model, timeout_ms=1500) as stream:
        await stream.until("started")
        stack.double.release(gate)
        events = await stream.rest()

    assert events[-1].json["error"]["code"] == "timeout"
    row = await stack.until_recorded(stream.job_id)
    assert row["attempts"] == 2
    assert row["total_ms"] - row["queue_ms"] >= 1500


async def until_queued(stack: Stack, job_id: str) -> None:
    """Wait until a job waits (again)."""

    async def queued() -> bool:
        state = await JobQueue(stack.redis).look(job_id)
        return state is not None and state.status is JobStatus.QUEUED

    await wait_until(queued, description="the job waits for its next attempt")
