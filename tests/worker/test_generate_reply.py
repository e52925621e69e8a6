"""A job from claim to terminal event, with a real queue and a server that speaks Ollama's wire."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from shared.errors import JobError
from shared.events import Chunk, Embedded, EventKind, Resumed, Started, Timings, Usage, encode_payload
from shared.job_queue import JobQueue
from shared.jobs import JobKind, JobStatus
from tests.desk import Desk
from tests.jobs import MODEL
from tests.ollama_double import Answer, Done, End, Fail, Hang, OllamaDouble, Pause, Raw, Step
from tests.waiting import wait_until
from worker.generate_reply import Author, generate_reply
from worker.job_in_hand import INTERRUPTED, TAKEN, JobInHand
from worker.ollama import Ollama
from worker.settings import OllamaSettings

STARTED = (EventKind.STARTED, b"{}")
CHUNK = (EventKind.CHUNK, encode_payload(Chunk(model=MODEL, content="", done=False)))
RESUMED = (EventKind.RESUMED, encode_payload(Resumed(attempt=2, mode="restarted")))
USAGE = Usage(prompt_tokens=3, completion_tokens=5)
TIMINGS = Timings(queue_ms=1, load_ms=2, first_token_ms=7, total_ms=9)
LAST_CHUNK = Chunk(model=MODEL, content="", done=True, done_reason="stop", usage=USAGE, timings=TIMINGS)
EMBEDDED = Embedded(
    model=MODEL, embeddings=msgspec.Raw(b"[[0.5]]"), done=True, usage=USAGE, timings=TIMINGS, job_id="1"
)


@pytest.fixture
async def double() -> AsyncIterator[OllamaDouble]:
    async with OllamaDouble([MODEL]) as double:
        yield double


@pytest.fixture
async def author(double: OllamaDouble) -> AsyncIterator[Author]:
    async with Ollama(double.url) as ollama:
        yield Author(worker_name="w1", ollama=ollama, settings=OllamaSettings(max_answer_bytes=1024))


@pytest.fixture
async def desk(redis: Redis, queue: JobQueue) -> AsyncIterator[Desk]:
    desk = Desk(redis, queue)
    async with desk.writing():
        yield desk


class TestAnAnswer:
    async def test_is_in_the_log_as_ollama_gave_it_with_its_closing_fields(
        self, desk: Desk, author: Author, double: OllamaDouble
    ) -> None:
        double.script(MODEL, Answer(("Hel", "lo\u2028 \r\n", "data: [DONE]\n\n")))
        job = await desk.take()

        assert await generate_reply(author, job) == JobStatus.COMPLETED

        started, *chunks, last = await desk.events(job)
        assert msgspec.json.decode(started.payload, type=Started) == Started(
            job_id=job.claim.job.id, worker="w1", attempt=1
        )
        contents = [msgspec.json.decode(event.payload, type=Chunk).content for event in chunks]
        assert "".join(contents) == "Hello\u2028 \r\ndata: [DONE]\n\n"
        closing = msgspec.json.decode(last.payload, type=Chunk)
        assert last.kind == EventKind.DONE.value
        assert (closing.done, closing.done_reason, closing.job_id) == (True, "stop", job.claim.job.id)
        assert closing.usage == job.usage
        assert job.usage.completion_tokens == 3
        assert job.first_token_ms is not None

    async def test_that_is_too_long_is_cut_with_an_error(
        self, desk: Desk, author: Author, double: OllamaDouble
    ) -> None:
        double.script(MODEL, Answer(("x" * 2000, Hang())))
        job = await desk.take()

        assert await generate_reply(author, job) == JobStatus.FAILED
        assert await desk.error(job) == "answer_too_large"
        await double.until(lambda state: state.generations[-1].outcome == "aborted", "Ollama has stopped")

    async def test_that_is_too_long_in_its_last_line_is_an_error_too(
        self, desk: Desk, author: Author, double: OllamaDouble
    ) -> None:
        double.script(MODEL, Answer((Raw(b'{"message":{"content":"%b"},"done":true}\n' % (b"x" * 2000)),)))
        job = await desk.take()

        assert await generate_reply(author, job) == JobStatus.FAILED
        assert await desk.kinds(job) == b"se"
        assert await desk.error(job) == "answer_too_large"

    async def test_that_takes_longer_than_the_job_may_is_cut_with_an_error(
        self, desk: Desk, author: Author, double: OllamaDouble
    ) -> None:
        double.script(MODEL, Answer(("Hel", Hang())))
        job = await desk.take(timeout_ms=50)

        assert await generate_reply(author, job) == JobStatus.FAILED
        assert await desk.error(job) == "timeout"

    @pytest.mark.parametrize("code", ["cancelled", INTERRUPTED])
    async def test_that_is_whole_stays_so_when_the_job_is_stopped_while_ollama_is_left(
        self, desk: Desk, author: Author, double: OllamaDouble, code: str
    ) -> None:
        double.script(MODEL, Answer(("Hello", Done(), Hang())))
        job = await desk.take()
        reply = asyncio.create_task(generate_reply(author, job))
        await wait_until(lambda: job.log.has_ended, description="the last chunk is there")

        job.stop(code)

        assert await reply == JobStatus.COMPLETED
        assert await desk.kinds(job) == b"scd"
        assert job.error_code is None

    async def test_that_a_bug_cuts_off_ends_with_an_error(self, desk: Desk, author: Author) -> None:
        job = await desk.take()
        broken = msgspec.structs.replace(author, ollama=None)

        assert await generate_reply(broken, job) == JobStatus.FAILED
        assert await desk.error(job) == JobError.code


class TestEmbeddings:
    NUMBERS = b"[[0.010071029,-1.7e-05,1],[0.0,-0.5,12345678]]"  # as Ollama writes float32
    REQUEST = b'{"model":"demo:latest","input":["one","two"]}'

    async def test_are_in_the_log_as_ollama_wrote_them(self, desk: Desk, author: Author, double: OllamaDouble) -> None:
        answer = b'{"model":"demo","embeddings":%b,"load_duration":5000000,"prompt_eval_count":2}' % self.NUMBERS
        double.script(MODEL, Answer((Raw(answer), End())))
        job = await desk.take(kind=JobKind.EMBED, request=self.REQUEST)

        assert await generate_reply(author, job) == JobStatus.COMPLETED

        _, last = await desk.events(job)
        assert last.kind == EventKind.DONE.value
        embedded = msgspec.json.decode(last.payload, type=Embedded)
        assert bytes(embedded.embeddings) == self.NUMBERS
        assert embedded.usage == job.usage == Usage(prompt_tokens=2, completion_tokens=0)
        assert (embedded.timings.load_ms, embedded.job_id) == (5, job.claim.job.id)

    async def test_have_more_time_than_a_first_token(self, desk: Desk, author: Author, double: OllamaDouble) -> None:
        """All of them come at once, however many there are."""
        double.script(MODEL, Answer((Pause(200),)))
        settings = msgspec.structs.replace(author.settings, ollama_first_token_timeout_ms=50)
        job = await desk.take(kind=JobKind.EMBED, request=self.REQUEST)

        assert await generate_reply(msgspec.structs.replace(author, settings=settings), job) == JobStatus.COMPLETED

    async def test_that_are_too_long_are_an_error(self, desk: Desk, author: Author, double: OllamaDouble) -> None:
        answer = b'{"model":"demo","embeddings":[[%b1]]}' % (b"0.5," * 300)
        double.script(MODEL, Answer((Raw(answer), End())))
        job = await desk.take(kind=JobKind.EMBED, request=self.REQUEST)

        assert await generate_reply(author, job) == JobStatus.FAILED
        assert await desk.kinds(job) == b"se"
        assert await desk.error(job) == "answer_too_large"


class TestStopping:
    async def begun(
        self, desk: Desk, author: Author, double: OllamaDouble, *tokens: str
    ) -> tuple[JobInHand, asyncio.Task[JobStatus | None]]:
        """Return a job that has said `tokens` and goes on for ever."""
        double.script(MODEL, Answer((*tokens, Hang())))
        job = await desk.take()
        reply = asyncio.create_task(generate_reply(author, job))
        await double.until(lambda state: state.generations, "Ollama was asked")
        await wait_until(lambda: job.log.last_seq == 1 + len(tokens), description="all tokens are there")
        return job, reply

    async def test_cancels_at_ollama_too(self, desk: Desk, author: Author, double: OllamaDouble) -> None:
        job, reply = await self.begun(desk, author, double, "Hel")

        job.stop("cancelled")

        assert await reply == JobStatus.CANCELLED
        assert await desk.error(job) == "cancelled"
        await double.until(lambda state: state.generations[-1].outcome == "aborted", "Ollama has stopped")

    async def test_hands_over_a_job_of_which_nothing_was_sent(
        self, desk: Desk, author: Author, double: OllamaDouble
    ) -> None:
        job, reply = await self.begun(desk, author, double)

        job.stop(INTERRUPTED)

        assert await reply is None
        assert await desk.kinds(job) == b"s"

    async def test_hands_over_a_job_of_which_something_was_sent(
        self, desk: Desk, author: Author, double: OllamaDouble
    ) -> None:
        job, reply = await self.begun(desk, author, double, "Hel")

        job.stop(INTERRUPTED)

        assert await reply is None
        assert await desk.kinds(job) == b"sc"

    async def test_writes_nothing_more_to_a_job_that_another_worker_has(
        self, desk: Desk, author: Author, double: OllamaDouble
    ) -> None:
        job, reply = await self.begun(desk, author, double, "Hel")

        job.stop(TAKEN)

        assert await reply is None
        assert await desk.kinds(job) == b"sc"


class TestAnotherAttempt:
    async def test_begins_anew_when_nothing_of_the_answer_was_sent(
        self, desk: Desk, author: Author, double: OllamaDouble
    ) -> None:
        double.script(MODEL, Answer(("Hello",)))
        job = await desk.take_after(STARTED, failures=1)

        assert await generate_reply(author, job) == JobStatus.COMPLETED

        events = await desk.events(job)
        assert [event.kind for event in events] == [b"s", b"s", b"c", b"d"]
        assert [event.seq for event in events] == [1, 2, 3, 4]
        assert msgspec.json.decode(events[1].payload, type=Started).attempt == 2

    @pytest.mark.parametrize(
        "before",
        [(STARTED, CHUNK), (STARTED, CHUNK, RESUMED)],
        ids=["by the first owner", "and the second one was lost"],
    )
    async def test_restarts_the_answer_when_something_of_it_was_sent(
        self, desk: Desk, author: Author, double: OllamaDouble, before: tuple[tuple[EventKind, bytes], ...]
    ) -> None:
        double.script(MODEL, Answer(("Hello",)))
        job = await desk.take_after(*before, failures=1)

        assert await generate_reply(author, job) == JobStatus.COMPLETED

        resumed, chunk, done = (await desk.events(job))[len(before) :]
        assert (resumed.kind, resumed.seq) == (EventKind.RESUMED.value, len(before) + 1)
        assert msgspec.json.decode(resumed.payload, type=Resumed) == Resumed(attempt=2, mode="restarted")
        assert [chunk.kind, done.kind] == [b"c", b"d"]

    async def test_is_not_made_when_three_have_cost_their_workers_their_lives(
        self, desk: Desk, author: Author, double: OllamaDouble
    ) -> None:
        job = await desk.take_after(STARTED, CHUNK, failures=3)

        assert await generate_reply(author, job) == JobStatus.FAILED
        assert await desk.error(job) == "worker_lost"
        assert double.state.generations == []

    @pytest.mark.parametrize("last", [LAST_CHUNK, EMBEDDED], ids=["of a chat", "of an embedding"])
    async def test_finds_the_answer_whole_and_leaves_it_so(
        self, desk: Desk, author: Author, last: Chunk | Embedded
    ) -> None:
        """The earlier owner was lost between the last event and the finish."""
        job = await desk.take_after(STARTED, CHUNK, (EventKind.DONE, encode_payload(last)))

        assert await generate_reply(author, job) == JobStatus.COMPLETED
        assert await desk.kinds(job) == b"scd"
        assert (job.usage, job.first_token_ms) == (last.usage, 7)

    @pytest.mark.parametrize(
        ("code", "status"), [("cancelled", JobStatus.CANCELLED), ("upstream_error", JobStatus.FAILED)]
    )
    async def test_finds_an_error_at_the_end_and_leaves_it_so(
        self, desk: Desk, author: Author, code: str, status: JobStatus
    ) -> None:
        error = b'{"error": {"code": "%b", "type": "", "message": "", "param": null, "request_id": ""}}' % code.encode()
        job = await desk.take_after(STARTED, (EventKind.ERROR, error))

        assert await generate_reply(author, job) == status
        assert await desk.kinds(job) == b"se"
        assert job.error_code == code


class TestAFailureOfOllama:
    @pytest.mark.parametrize(
        ("steps", "kinds"),
        [
            pytest.param((Fail(),), b"s", id="before the first token"),
            pytest.param(("Hel", End()), b"sc", id="in the middle"),
        ],
    )
    async def test_is_not_the_end_but_another_attempt(
        self, desk: Desk, author: Author, double: OllamaDouble, steps: tuple[Step, ...], kinds: bytes
    ) -> None:
        double.script(MODEL, Answer(steps))
        job = await desk.take()

        assert await generate_reply(author, job) is None

        assert await desk.kinds(job) == kinds
        assert job.retry is not None
        assert job.retry.error.code.startswith("upstream_")

    async def test_ends_the_job_at_the_third_attempt(self, desk: Desk, author: Author, double: OllamaDouble) -> None:
        double.script(MODEL, Answer((Fail(),)))
        job = await desk.take_after(STARTED, failures=2)

        assert await generate_reply(author, job) == JobStatus.FAILED

        assert await desk.error(job) == "upstream_error"
        assert job.retry is None

    async def test_ends_the_job_at_once_when_it_is_a_refusal(
        self, desk: Desk, author: Author, double: OllamaDouble
    ) -> None:
        double.script(MODEL, Answer((Fail("invalid options", status=400),)))
        job = await desk.take()

        assert await generate_reply(author, job) == JobStatus.FAILED

        assert await desk.error(job) == "upstream_rejected"
