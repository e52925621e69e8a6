"""An answer that was cut goes on where the client has it, to the letter, or begins anew; never something between."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from shared import redis_keys
from shared.events import Chunk, EventKind, Resumed, Usage
from shared.job_queue import JobQueue
from shared.jobs import JobStatus
from tests.desk import Desk
from tests.jobs import MODEL
from tests.ollama_double import Answer, Cut, Done, OllamaDouble, Step, Thinking, ToolCalls
from worker.generate_reply import Author, generate_reply
from worker.job_in_hand import JobInHand
from worker.ollama import Ollama
from worker.settings import OllamaSettings

TEXTS: dict[str, tuple[str, ...]] = {
    "words": ("Once", " upon", " a", " time", "."),
    "words with their blanks behind": ("Once ", "upon ", "a ", "time ", "."),
    "blanks by themselves": ("Once", " ", "upon", "  ", "\n", "\n", "a", "\t", "time", "\n"),
    "blanks at both ends": ("\n", " Once", "\u00a0", "\u2028", "upon", "\u3000 "),
    "what is no letter": ("é", "中", "\U0001f600", "\u200d", "\U0001f525", "\ufeff", "ä\u0308", "\ufffd"),
    "what looks like a wire": ('{"done"', ":true}", "\n", "data: ", "[DONE]", "\n\n", "<|im", "_end|>", "\\u0000"),
}
WHOLE = ("Once", " upon", " a time")


def asking(**fields: Any) -> bytes:  # noqa: ANN401  whatever Ollama takes
    return msgspec.json.encode({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], **fields})


@pytest.fixture
async def double() -> AsyncIterator[OllamaDouble]:
    async with OllamaDouble([MODEL], goes_on=True) as double:
        yield double


@pytest.fixture
async def author(double: OllamaDouble) -> AsyncIterator[Author]:
    async with Ollama(double.url) as ollama:
        yield Author(worker_name="w1", ollama=ollama, settings=OllamaSettings(max_answer_bytes=4096))


@pytest.fixture
async def desk(redis: Redis, queue: JobQueue) -> AsyncIterator[Desk]:
    desk = Desk(redis, queue)
    async with desk.writing():
        yield desk


class Transcript:
    """What a client makes of a job's events."""

    def __init__(self) -> None:
        self.text = ""
        self.modes: list[str] = []
        self.last: Chunk | None = None

    @classmethod
    async def of(cls, desk: Desk, job: JobInHand) -> "Transcript":
        self = cls()
        for event in await desk.events(job):
            if event.kind == EventKind.RESUMED.value:
                self.modes.append(msgspec.json.decode(event.payload, type=Resumed).mode)
                self.text = self.text if self.modes[-1] == "continued" else ""
            elif event.kind in (EventKind.CHUNK.value, EventKind.DONE.value):
                self.last = msgspec.json.decode(event.payload, type=Chunk)
                self.text += self.last.content
        return self


async def cut_and_go_on(
    desk: Desk, author: Author, double: OllamaDouble, *answers: Answer, request: bytes | None = None
) -> Transcript:
    """Have a job answered by one attempt after the other, of which all but the last fail."""
    double.script(MODEL, *answers)
    job = await desk.take(request=request or asking())
    for _ in answers[1:]:
        assert await generate_reply(author, job) is None
        job = await desk.take_again(job)
    assert await generate_reply(author, job) == JobStatus.COMPLETED
    transcript = await Transcript.of(desk, job)
    assert transcript.last is not None
    assert transcript.last.usage == job.usage
    return transcript


@pytest.mark.parametrize("tokens", TEXTS.values(), ids=TEXTS.keys())
async def test_wherever_it_was_cut_the_text_is_the_models_own(
    desk: Desk, author: Author, double: OllamaDouble, tokens: tuple[str, ...]
) -> None:
    for first in range(1, len(tokens) + 1):
        for second in range(first, len(tokens) + 1):
            cut_twice = (Answer((*tokens[:place], Cut())) for place in (first, second))
            transcript = await cut_and_go_on(desk, author, double, *cut_twice, Answer(tokens))

            assert transcript.text == "".join(tokens), (first, second)
            begun = "".join(tokens[:first]).strip()
            assert transcript.modes[0] == ("continued" if begun else "restarted")


async def test_what_the_model_is_given_ends_with_what_was_said(
    desk: Desk, author: Author, double: OllamaDouble
) -> None:
    await cut_and_go_on(desk, author, double, Answer(("Once ", Cut())), Answer(("Once ", "upon")))

    first, second = double.state.generations
    assert second.request == {
        **first.request,
        "messages": [*first.request["messages"], {"role": "assistant", "content": "Once"}],
    }


async def test_usage_counts_both_parts_and_the_prompt_once(desk: Desk, author: Author, double: OllamaDouble) -> None:
    whole = await cut_and_go_on(desk, author, double, Answer(WHOLE))
    in_parts = await cut_and_go_on(desk, author, double, Answer((*WHOLE[:2], Cut())), Answer(WHOLE))

    assert whole.last is not None
    assert in_parts.last is not None
    assert whole.last.usage == Usage(prompt_tokens=1, completion_tokens=3)
    assert in_parts.last.usage == Usage(prompt_tokens=1, completion_tokens=3, estimated=True)


async def test_what_was_said_is_taken_off_the_most_it_may_say(desk: Desk, author: Author, double: OllamaDouble) -> None:
    request = asking(options={"num_predict": 5, "seed": 7})

    await cut_and_go_on(desk, author, double, Answer((*WHOLE[:2], Cut())), Answer(WHOLE), request=request)

    assert double.state.generations[-1].request["options"] == {"num_predict": 3, "seed": 7}


async def test_nothing_is_asked_when_all_that_it_may_say_was_said(
    desk: Desk, author: Author, double: OllamaDouble
) -> None:
    cut = Answer((*WHOLE, Cut()))
    request = asking(options={"num_predict": 3})

    transcript = await cut_and_go_on(desk, author, double, cut, Answer(("never",)), request=request)

    assert transcript.text == "".join(WHOLE)
    assert transcript.last is not None
    assert (transcript.last.done_reason, transcript.modes) == ("length", ["continued"])
    assert len(double.state.generations) == 1


async def test_a_whole_answer_whose_end_was_lost_gets_its_end(desk: Desk, author: Author, double: OllamaDouble) -> None:
    transcript = await cut_and_go_on(desk, author, double, Answer((*WHOLE, Cut())), Answer((*WHOLE, Done("stop"))))

    assert transcript.text == "".join(WHOLE)
    assert transcript.last is not None
    assert (transcript.last.done_reason, transcript.modes) == ("stop", ["continued"])


async def test_the_longest_answer_is_counted_over_both_parts(desk: Desk, author: Author, double: OllamaDouble) -> None:
    double.script(MODEL, Answer(("x" * 2500, Cut())), Answer(("x" * 2500, "y" * 2500)))
    job = await desk.take(request=asking())
    assert await generate_reply(author, job) is None
    job = await desk.take_again(job)

    assert await generate_reply(author, job) == JobStatus.FAILED
    assert await desk.error(job) == "answer_too_large"


THOUGHTS = Thinking("Hm.")
NEVER_CONTINUED: dict[str, tuple[bytes, tuple[Step, ...]]] = {
    "a format": (asking(format="json"), ("Half",)),
    "images": (asking(messages=[{"role": "user", "content": "What?", "images": ["aGk="]}]), ("Half",)),
    "thoughts that have not ended": (asking(think=True), (THOUGHTS,)),
    "nothing but blanks": (asking(), (" ", "\n")),
    "a call of a tool": (asking(), ("Half", ToolCalls([{"function": {"name": "look", "arguments": {}}}]))),
    "a stop sequence that may have begun": (asking(options={"stop": ["lf-way"]}), ("Half",)),
    "an answer that the client has begun": (
        asking(messages=[{"role": "user", "content": "?"}, {"role": "assistant", "content": "It is"}]),
        ("Half",),
    ),
}


@pytest.mark.parametrize(("request_body", "steps"), NEVER_CONTINUED.values(), ids=NEVER_CONTINUED.keys())
async def test_where_nobody_could_tell_it_begins_anew(
    desk: Desk, author: Author, double: OllamaDouble, request_body: bytes, steps: tuple[Step, ...]
) -> None:
    cut = Answer((*steps, Cut()))

    transcript = await cut_and_go_on(desk, author, double, cut, Answer(WHOLE), request=request_body)

    assert (transcript.modes, transcript.text) == (["restarted"], "".join(WHOLE))
    assert double.state.generations[-1].request == msgspec.json.decode(request_body)
    assert transcript.last is not None
    assert transcript.last.usage == Usage(
        prompt_tokens=double_prompt_tokens(request_body), completion_tokens=len(WHOLE)
    )


def double_prompt_tokens(request: bytes) -> int:
    return sum(len(message["content"].split()) for message in msgspec.json.decode(request)["messages"])


async def test_thoughts_that_have_ended_go_along(desk: Desk, author: Author, double: OllamaDouble) -> None:
    cut = Answer((THOUGHTS, "Once", Cut()))

    transcript = await cut_and_go_on(desk, author, double, cut, Answer(WHOLE), request=asking(think=True))

    assert (transcript.modes, transcript.text) == (["continued"], "".join(WHOLE))
    assert double.state.generations[-1].request["messages"][-1] == {
        "role": "assistant",
        "content": "Once",
        "thinking": "Hm.",
    }


async def test_a_model_that_answers_instead_of_going_on_begins_anew(
    desk: Desk, author: Author, double: OllamaDouble
) -> None:
    double.goes_on = False

    transcript = await cut_and_go_on(desk, author, double, Answer(("Half", Cut())), Answer(WHOLE))

    assert (transcript.modes, transcript.text) == (["restarted"], "".join(WHOLE))


async def test_an_ollama_that_shows_no_prompts_says_one_token_for_nothing_and_begins_anew(
    desk: Desk, author: Author, double: OllamaDouble
) -> None:
    double.shows_prompts = False
    double.script(MODEL, Answer(("Half", Cut())), Answer(("Never",)), Answer(WHOLE))
    job = await desk.take(request=asking())
    assert await generate_reply(author, job) is None
    job = await desk.take_again(job)

    assert await generate_reply(author, job) == JobStatus.COMPLETED

    transcript = await Transcript.of(desk, job)
    assert (transcript.modes, transcript.text) == (["restarted"], "".join(WHOLE))
    asked = double.state.generations[1].request
    assert (asked["stream"], asked["options"]) == (False, {"num_predict": 1})


async def test_an_ollama_that_fails_while_it_is_asked_costs_an_attempt(
    desk: Desk, author: Author, double: OllamaDouble
) -> None:
    double.script(MODEL, Answer(("Once", Cut())))
    job = await desk.take(request=asking())
    assert await generate_reply(author, job) is None
    job = await desk.take_again(job)
    await double.stop()

    assert await generate_reply(author, job) is None

    assert job.retry is not None
    assert job.retry.error.code == "upstream_unreachable"
    assert await desk.kinds(job) == b"sc"


async def test_a_part_of_which_redis_has_lost_the_beginning_is_not_gone_on_with(
    desk: Desk, author: Author, double: OllamaDouble
) -> None:
    """As after a loss of data, when the owner is lost as well that could only put its own share back."""
    double.script(MODEL, Answer((*WHOLE[:2], Cut())), Answer(WHOLE))
    job = await desk.take(request=asking())
    assert await generate_reply(author, job) is None
    job = await desk.take_again(job)
    log = redis_keys.LOG + job.claim.job.id
    (_, _), (started, _), *_ = await desk.redis.xrange(log, count=2)
    await desk.redis.xdel(log, started)

    assert await generate_reply(author, job) == JobStatus.COMPLETED

    transcript = await Transcript.of(desk, job)
    assert (transcript.modes, transcript.text) == (["restarted"], "".join(WHOLE))


async def test_only_what_came_after_the_last_beginning_counts(desk: Desk, author: Author, double: OllamaDouble) -> None:
    double.goes_on = False
    double.script(MODEL, Answer(("Half", Cut())), Answer(("Once", Cut())), Answer(WHOLE))
    job = await desk.take(request=asking())
    for goes_on in (False, True):
        assert await generate_reply(author, job) is None
        double.goes_on = goes_on
        job = await desk.take_again(job)

    assert await generate_reply(author, job) == JobStatus.COMPLETED

    transcript = await Transcript.of(desk, job)
    assert (transcript.modes, transcript.text) == (["restarted", "continued"], "".join(WHOLE))
