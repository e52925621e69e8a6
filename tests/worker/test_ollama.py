"""The door to Ollama, against a server that behaves like Ollama at its best and at its worst."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

import msgspec
import pytest

from shared.errors import (
    ContextLengthExceededError,
    DeeperSensorError,
    ModelNotFoundError,
    UpstreamBusyError,
    UpstreamError,
    UpstreamInterruptedError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from tests.ollama_double import (
    BUSY,
    Answer,
    Cut,
    Done,
    End,
    Fail,
    Hang,
    Headers,
    OllamaDouble,
    Pause,
    Raw,
    Step,
    Thinking,
    ToolCalls,
)
from worker.ollama import DEFAULT_DEADLINES, Deadlines, Ollama, deadlines_for
from worker.ollama_replies import Reply
from worker.settings import OllamaSettings

CANARY = "canary-7f3a"
HOSTILE = (
    "Hel",
    "lo",
    "",
    "\u0085",
    "\u2028",
    "\u2029",
    "\x0c\x0b\x1c",
    "\r\n",
    "data: [DONE]\n\n",
    '"}\n{"done":true}\n',
    "\x00",
    "é中\U0001f600\u200d\U0001f525",
    "\ufeff",
    "<&>",
)
LONG = "x\u2028" * 100_000  # a line of 400 kB
PATIENT = Deadlines(first_token_ms=60_000, silence_ms=60_000)
HASTY_AT_FIRST = Deadlines(first_token_ms=100, silence_ms=60_000)
HASTY_LATER = Deadlines(first_token_ms=60_000, silence_ms=100)


@pytest.fixture
async def double() -> AsyncIterator[OllamaDouble]:
    async with OllamaDouble() as running:
        yield running


@pytest.fixture
async def ollama(double: OllamaDouble) -> AsyncIterator[Ollama]:
    async with Ollama(double.url) as client:
        yield client


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that lets nobody in: its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port
        for client in waiting:
            client.close()


def chat(model: str = "demo", content: str = "hi") -> bytes:
    return msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": content}]})


async def everything(batches: AsyncGenerator[list[Reply]]) -> list[Reply]:
    async with aclosing(batches):
        return [reply async for batch in batches for reply in batch]


async def until_error(batches: AsyncGenerator[list[Reply]]) -> tuple[str, DeeperSensorError]:
    """Return the text that came before the error, and the error."""
    text = ""
    try:
        async with aclosing(batches):
            async for batch in batches:
                text += "".join(reply.content for reply in batch)
    except DeeperSensorError as error:
        return text, error
    pytest.fail(f"no error after {text!r}")


@pytest.mark.parametrize(
    ("tokens", "write_sizes"),
    [
        pytest.param(HOSTILE, (), id="a line each"),
        pytest.param(HOSTILE, (1,), id="a byte each"),
        pytest.param(HOSTILE, (7, 1, 200), id="cut inside lines and characters"),
        pytest.param(HOSTILE, (1 << 20,), id="all in one"),
        pytest.param(("a", LONG, "b"), (), id="a long line"),
        pytest.param(("a", LONG, "b"), (10_001,), id="a long line in pieces"),
    ],
)
async def test_text_comes_out_as_the_model_gave_it(
    double: OllamaDouble, ollama: Ollama, tokens: tuple[str, ...], write_sizes: tuple[int, ...]
) -> None:
    double.script("demo", Answer(tokens, write_sizes=write_sizes))
    replies = await everything(ollama.chat(chat()))
    assert [reply.content for reply in replies] == [*tokens, ""]
    assert [reply.done for reply in replies] == [False] * len(tokens) + [True]


async def test_what_arrives_together_is_given_together(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer(("a", "b", "c", Pause(50), "d"), write_sizes=(1 << 20,)))
    async with aclosing(ollama.chat(chat())) as batches:
        assert [[reply.content for reply in batch] async for batch in batches] == [["a", "b", "c"], ["d", ""]]


async def test_the_last_reply_has_the_figures(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer(("a", "b", Done("length")), load_ms=1))
    last = (await everything(ollama.chat(chat(content="one two three"))))[-1]
    assert last.done_reason == "length"
    assert (last.prompt_eval_count, last.eval_count) == (3, 2)
    assert last.load_duration == 1_000_000
    assert min(last.total_duration, last.prompt_eval_duration, last.eval_duration) > 0


async def test_thoughts_and_tool_calls_are_given(double: OllamaDouble, ollama: Ollama) -> None:
    calls = [{"function": {"name": "weather", "arguments": {"city": "Zürich"}}}]
    double.script("demo", Answer((Thinking("hm"), ToolCalls(calls), "there")))
    thought, called, said, last = await everything(ollama.chat(chat()))
    assert (thought.thinking, thought.content) == ("hm", "")
    assert called.tool_calls is not None
    assert msgspec.json.decode(called.tool_calls) == calls
    assert (said.content, said.thinking, said.tool_calls) == ("there", "", None)
    assert last.done


async def test_generate_gives_the_same_replies(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer((Thinking("hm"), *HOSTILE)))
    replies = await everything(ollama.generate(b'{"model": "demo", "prompt": "hi"}'))
    assert [reply.content for reply in replies] == ["", *HOSTILE, ""]
    assert replies[0].thinking == "hm"
    assert double.state.generations[0].path == "/api/generate"


async def test_an_unstreamed_answer_is_one_reply(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer(("a", "b")))
    replies = await everything(ollama.generate(b'{"model": "demo", "prompt": "hi", "stream": false}'))
    assert [(reply.content, reply.done) for reply in replies] == [("ab", True)]


async def test_embed_gives_a_vector_for_each_text(ollama: Ollama) -> None:
    answer = await ollama.embed(b'{"model": "demo", "input": ["a b", "c"]}')
    assert [len(vector) for vector in msgspec.json.decode(answer.embeddings, type=list[list[float]])] == [32, 32]
    assert answer.prompt_eval_count == 3


async def test_models_are_described(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("other:1b", Answer())
    assert [tag.name for tag in await ollama.tags()] == ["demo:latest", "other:1b"]
    assert await ollama.ps() == []
    await everything(ollama.chat(chat("other:1b")))
    assert [(model.name, model.context_length) for model in await ollama.ps()] == [("other:1b", 4096)]
    assert b"completion" in bytes((await ollama.show("demo"))["capabilities"])
    assert await ollama.version() == "0.0.0-demo"


async def test_headers_of_the_caller_reach_ollama(double: OllamaDouble, ollama: Ollama) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await everything(ollama.chat(chat(), headers={"traceparent": traceparent}))
    headers = double.state.generations[0].headers
    assert headers["traceparent"] == traceparent
    assert headers["accept-encoding"] == "identity"


async def test_proxies_of_the_environment_are_ignored(
    double: OllamaDouble, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_tcp_port}")
    async with Ollama(double.url) as ollama:
        assert await ollama.version() == "0.0.0-demo"


async def test_answers_at_once_have_no_upper_limit(double: OllamaDouble, ollama: Ollama) -> None:
    """Each job has its connection; aiohttp by itself would stop at 100."""
    double.script("demo", Answer(("a", Hang("gate"), "b")))
    answers = [asyncio.create_task(everything(ollama.chat(chat(), deadlines=PATIENT))) for _ in range(150)]
    await double.until(lambda state: len(state.ended_as("active")) == 150, "150 answers at once")
    double.release("gate")
    assert {"".join(reply.content for reply in await answer) for answer in answers} == {"ab"}


@pytest.mark.parametrize(
    ("steps", "deadlines", "phase", "text"),
    [
        pytest.param((Hang(),), HASTY_AT_FIRST, "first_token", "", id="before the headers"),
        pytest.param((Headers(), Hang()), HASTY_AT_FIRST, "first_token", "", id="after the headers"),
        pytest.param((Raw(b'{"message"'), Hang()), HASTY_AT_FIRST, "first_token", "", id="inside the first line"),
        pytest.param(("a", Hang()), HASTY_LATER, "silence", "a", id="in the middle"),
        pytest.param(("a", Raw(b'{"message"'), Hang()), HASTY_LATER, "silence", "a", id="inside a line"),
    ],
)
async def test_silence_ends_the_answer(
    double: OllamaDouble, ollama: Ollama, steps: tuple[Step, ...], deadlines: Deadlines, phase: str, text: str
) -> None:
    double.script("demo", Answer(steps))
    got, error = await until_error(ollama.chat(chat(), deadlines=deadlines))
    assert isinstance(error, UpstreamTimeoutError)
    assert (error.phase, error.limit_ms) == (phase, 100)
    assert got == text
    await double.until(lambda state: state.ended_as("aborted"), "Ollama stops")


async def test_connecting_has_its_own_deadline(deaf_port: int) -> None:
    async with Ollama(f"http://127.0.0.1:{deaf_port}") as ollama:
        _, error = await until_error(ollama.chat(chat(), deadlines=Deadlines(connect_ms=100)))
    assert isinstance(error, UpstreamTimeoutError)
    assert (error.phase, error.limit_ms) == ("connect", 100)


async def test_loading_counts_into_the_first_token_only(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer(("a", "b"), load_ms=500))
    deadlines = Deadlines(first_token_ms=60_000, silence_ms=400)
    assert len(await everything(ollama.chat(chat(), deadlines=deadlines))) == 3


async def test_each_token_moves_the_deadline(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer(("a",) * 40, step_ms=50))
    replies = await everything(ollama.chat(chat(), deadlines=Deadlines(silence_ms=1_000)))
    assert len(replies) == 41


async def test_the_time_of_a_slow_reader_is_not_ollamas(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer(("a", Pause(300), "b")))
    text = ""
    async with aclosing(ollama.chat(chat(), deadlines=HASTY_LATER)) as batches:
        async for batch in batches:
            text += "".join(reply.content for reply in batch)
            await double.until(lambda state: state.ended_as("completed"), "Ollama has said everything")
    assert text == "ab"


@pytest.mark.parametrize(
    ("steps", "kind", "text"),
    [
        pytest.param((Cut(),), UpstreamUnreachableError, "", id="reset before the headers"),
        pytest.param((Cut("fin"),), UpstreamUnreachableError, "", id="closed before the headers"),
        pytest.param((Headers(), Cut()), UpstreamUnreachableError, "", id="reset before the first token"),
        pytest.param((Headers(), Cut("fin")), UpstreamUnreachableError, "", id="closed before the first token"),
        pytest.param(("a", Cut()), UpstreamInterruptedError, "a", id="reset in the middle"),
        pytest.param(("a", Cut("fin")), UpstreamInterruptedError, "a", id="closed in the middle"),
        pytest.param(("a", Raw(b'{"mess'), Cut("fin")), UpstreamInterruptedError, "a", id="closed inside a line"),
        pytest.param(("a", End()), UpstreamInterruptedError, "a", id="ended without done"),
        pytest.param((End(),), UpstreamInterruptedError, "", id="ended without anything"),
        pytest.param(("a", Raw(b"garbage\n"), "b"), UpstreamInterruptedError, "a", id="garbage in the middle"),
        pytest.param((Raw(b"<html>\n"),), UpstreamInterruptedError, "", id="garbage at the start"),
        pytest.param(("a", Fail("CUDA error")), UpstreamError, "a", id="an error line in the middle"),
    ],
)
async def test_an_answer_that_breaks_is_never_an_end(
    double: OllamaDouble, ollama: Ollama, steps: tuple[Step, ...], kind: type[UpstreamError], text: str
) -> None:
    double.script("demo", Answer(steps))
    got, error = await until_error(ollama.chat(chat()))
    assert type(error) is kind
    assert got == text


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        pytest.param(Fail("invalid options", 400), UpstreamRejectedError, "upstream_rejected", id="a bad request"),
        pytest.param(Fail("model 'm' not found", 404), ModelNotFoundError, "model_not_found", id="an unknown model"),
        pytest.param(
            Fail("the prompt is longer than the context length currently available to the model", 400),
            ContextLengthExceededError,
            "context_length_exceeded",
            id="a long prompt",
        ),
        pytest.param(
            Fail("input length (9 tokens) exceeds the model's maximum context length (8 tokens)", 500),
            ContextLengthExceededError,
            "context_length_exceeded",
            id="a long prompt under a wrong status",
        ),
        pytest.param(Fail("slow down", 429), UpstreamBusyError, "upstream_busy", id="too many requests"),
        pytest.param(BUSY, UpstreamBusyError, "upstream_busy", id="a full queue"),
        pytest.param(Fail(), UpstreamError, "upstream_error", id="a dead runner"),
        pytest.param(Fail(status=302), UpstreamError, "upstream_error", id="a redirect"),
    ],
)
async def test_a_status_says_what_is_wrong(
    double: OllamaDouble, ollama: Ollama, failure: Fail, kind: type[DeeperSensorError], code: str
) -> None:
    double.script("demo", Answer((failure,)))
    _, error = await until_error(ollama.chat(chat()))
    assert isinstance(error, kind)
    assert error.code == code
    assert failure.message in error.message


async def test_embed_fails_in_the_same_words(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer((Fail("the input length exceeds the context length", 400),)), Answer((Hang(),)))
    with pytest.raises(ContextLengthExceededError):
        await ollama.embed(b'{"model": "demo", "input": "a"}')
    with pytest.raises(UpstreamTimeoutError):
        await ollama.embed(b'{"model": "demo", "input": "a"}', deadlines=HASTY_AT_FIRST)
    await double.until(lambda state: state.ended_as("aborted"), "Ollama stops")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param(None, None, id="not given"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", None, id="a date"),
        pytest.param("-1", None, id="the past"),
    ],
)
async def test_a_busy_ollama_says_when_to_come_back(
    double: OllamaDouble, ollama: Ollama, header: str | None, seconds: float | None
) -> None:
    double.script("demo", Answer((Fail("busy", 503, header),)))
    _, error = await until_error(ollama.chat(chat()))
    assert isinstance(error, UpstreamBusyError)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        pytest.param("x" * 1_000, "x" * 299 + "…", id="too long"),
        pytest.param("a\x00b\r\n\u2028c", "a b c", id="not printable"),
        pytest.param("open /root/.ollama/models/blobs/sha256-1: no such file", "open …: no such file", id="a path"),
        pytest.param(r"open C:\Users\me\.ollama\id: no", "open …: no", id="a path of Windows"),
        pytest.param("see https://ollama.com/a/b or m/n/o", "see https://ollama.com/a/b or m/n/o", id="no path"),
    ],
)
async def test_ollamas_words_are_shown_as_far_as_is_safe(
    double: OllamaDouble, ollama: Ollama, said: str, shown: str
) -> None:
    double.script("demo", Answer((Fail(said),)), Answer(("a", Fail(said))))
    for _ in range(2):
        _, error = await until_error(ollama.chat(chat()))
        assert error.message == f"Ollama failed: {shown}"


async def test_no_error_holds_the_prompt(
    double: OllamaDouble, ollama: Ollama, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    hasty = Deadlines(first_token_ms=100, silence_ms=100)
    worst: list[tuple[Step, ...]] = [
        (Hang(),),
        ("a", Hang()),
        (Cut(),),
        ("a", Cut()),
        (Raw(b"?\n"),),
        (Fail(),),
        (End(),),
    ]
    double.script("demo", *(Answer(steps) for steps in worst))
    for _ in worst:
        _, error = await until_error(ollama.chat(chat(content=CANARY), deadlines=hasty))
        while error is not None:
            assert CANARY not in repr(vars(error)) + repr(error)
            error = error.__cause__
    assert len(double.state.generations) == len(worst)
    assert CANARY not in caplog.text


async def test_a_refused_connection_says_why(unused_tcp_port: int) -> None:
    async with Ollama(f"http://127.0.0.1:{unused_tcp_port}") as ollama:
        with pytest.raises(UpstreamUnreachableError, match=r"^Ollama cannot be reached: Connection refused\.$"):
            await ollama.tags()


async def test_a_server_that_is_no_ollama_is_found_out(double: OllamaDouble) -> None:
    async with Ollama(f"{double.url}/_double") as ollama:
        with pytest.raises(UpstreamRejectedError, match="status 404"):
            await ollama.tags()


@pytest.mark.parametrize(
    ("steps", "tokens_sent"),
    [
        pytest.param((Hang(),), 0, id="before the headers"),
        pytest.param((Headers(), Hang()), 0, id="before the first token"),
        pytest.param(("a", "b", Hang()), 2, id="in the middle"),
    ],
)
async def test_cancelling_stops_ollama(
    double: OllamaDouble, ollama: Ollama, steps: tuple[Step, ...], tokens_sent: int
) -> None:
    double.script("demo", Answer(steps))
    answer = asyncio.create_task(everything(ollama.chat(chat(), deadlines=PATIENT)))
    await double.until(
        lambda state: [generation.tokens_sent for generation in state.generations] == [tokens_sent], "Ollama is at it"
    )
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    await double.until(lambda state: state.ended_as("aborted"), "Ollama stops")
    assert double.state.generations[0].tokens_sent == tokens_sent


async def test_closing_the_iterator_stops_ollama(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer(("a",) * 1_000_000, step_ms=1))
    async with aclosing(ollama.chat(chat())) as batches:
        await anext(batches)
    await double.until(lambda state: state.ended_as("aborted"), "Ollama stops")
    assert double.state.generations[0].tokens_sent < 1_000_000


async def test_a_whole_answer_leaves_its_connection_to_the_next(double: OllamaDouble, ollama: Ollama) -> None:
    """Also when the reader leaves at the last reply, as one does that needs nothing after it."""
    for _ in range(3):
        async with aclosing(ollama.chat(chat())) as batches:
            async for batch in batches:
                if batch[-1].done:
                    break
    assert len({generation.client for generation in double.state.generations}) == 1


async def test_an_answer_left_early_leaves_no_connection(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer(("a", Hang())), Answer(("a",)))
    async with aclosing(ollama.chat(chat())) as batches:
        await anext(batches)
    await everything(ollama.chat(chat()))
    assert len({generation.client for generation in double.state.generations}) == 2


async def test_a_response_that_does_not_end_after_the_last_reply_is_left(double: OllamaDouble, ollama: Ollama) -> None:
    double.script("demo", Answer(("a", Done(), Hang())))
    assert [reply.content for reply in await everything(ollama.chat(chat()))] == ["a", ""]
    await double.until(lambda state: state.ended_as("aborted"), "the connection is closed")


@pytest.mark.parametrize(
    ("is_loaded", "calls_tools", "deadlines"),
    [
        pytest.param(True, False, Deadlines(first_token_ms=60_000, silence_ms=30_000), id="loaded"),
        pytest.param(False, False, Deadlines(first_token_ms=300_000, silence_ms=30_000), id="to be loaded"),
        pytest.param(True, True, Deadlines(first_token_ms=60_000, silence_ms=300_000), id="with tools"),
    ],
)
def test_deadlines_follow_the_job(*, is_loaded: bool, calls_tools: bool, deadlines: Deadlines) -> None:
    assert deadlines_for(OllamaSettings(), is_loaded=is_loaded, calls_tools=calls_tools) == deadlines


def test_an_operator_may_be_more_patient_than_we_are() -> None:
    settings = OllamaSettings(ollama_first_token_timeout_ms=900_000, ollama_default_timeout_ms=800_000)
    deadlines = deadlines_for(settings, is_loaded=False, calls_tools=True)
    assert (deadlines.first_token_ms, deadlines.silence_ms) == (900_000, 800_000)
    assert deadlines.connect_ms == DEFAULT_DEADLINES.connect_ms
