"""The load generator tells right answers from wrong ones, however their bytes arrive."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.benchmarks.c_programs import CPrograms
from tests.benchmarks.load import Load, LoadReport, send_load
from tests.benchmarks.targets import UNPACED, Surface, Target

OUTCOMES = ("complete", "wrong", "failed", "refused", "broken", "unfinished")
TOKENS = 3
ONCE = Load(clients=1, requests=1)


def sse(event: str, data: str) -> str:
    return f"event: {event}\ndata: {data}\n\n"


def token(sequence: int, *, tag: str = "0000000000") -> str:
    return f'{{"model":"m","content":"#{tag}.{sequence}@1 ","done":false}}'


END = '{"model":"m","content":"","done":true,"timings":{"queue_ms":1.25}}'
RIGHT = [token(0), token(1), token(2), END]


def stream(payloads: Sequence[str]) -> str:
    """Return the events of a native stream with these chunks."""
    opening = "retry: 1000\n\n" + sse("queued", '{"position":1}') + ": heartbeat\n\n" + sse("started", '{"attempt":1}')
    return opening + "".join(sse("chunk", payload) for payload in payloads)


def chunked(body: str, *, size: int, whole: bool = True) -> bytes:
    """Return an HTTP response whose body comes in chunks of `size` bytes, with or without the chunk that ends it."""
    data = body.encode()
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%X\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" * whole


def sized(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


CASES = {
    "a right stream": ("complete", chunked(stream(RIGHT), size=1000)),
    "a right stream in chunks of one byte": ("complete", chunked(stream(RIGHT), size=1)),
    "a right stream that is not chunked": ("complete", sized("200 OK", stream(RIGHT))),
    "a token missing": ("wrong", chunked(stream([token(0), token(2), END]), size=1000)),
    "the last token missing": ("wrong", chunked(stream([token(0), token(1), END]), size=1000)),
    "a token twice": ("wrong", chunked(stream([token(0), token(1), token(1), token(2), END]), size=1000)),
    "tokens in another order": ("wrong", chunked(stream([token(0), token(2), token(1), END]), size=1000)),
    "somebody else's token": ("wrong", chunked(stream([token(0), token(1, tag="7"), token(2), END]), size=1000)),
    "no end": ("wrong", chunked(stream(RIGHT[:-1]), size=1000)),
    "an error event": ("failed", chunked(stream(RIGHT[:2]) + sse("error", '{"error":{}}'), size=1000)),
    "an error event after a whole answer": ("failed", chunked(stream(RIGHT) + sse("error", "{}"), size=1000)),
    "a refusal": ("refused", sized("503 Service Unavailable", '{"error":{"code":"queue_full"}}')),
    "a connection cut after the end": ("broken", chunked(stream(RIGHT), size=1000, whole=False)),
    "a connection cut in the head": ("broken", b"HTTP/1.1 200 OK\r\n"),
    "a token after the end": ("wrong", chunked(stream([*RIGHT, token(3)]), size=1000)),
}


def openai(*chunks: str, end: str = "data: [DONE]\n\n") -> bytes:
    """Return the chunks of a completion as OpenAI's protocol has them."""
    opening = ': queued {"position":1}\n\n: heartbeat\n\n' + choice('"delta":{"role":"assistant"}')
    return chunked(opening + "".join(chunks) + end, size=1000)


def choice(fields: str, *, finish_reason: str = "null") -> str:
    return f'data: {{"choices":[{{"index":0,{fields},"finish_reason":{finish_reason}}}]}}\n\n'


def word(sequence: int) -> str:
    return choice(f'"delta":{{"content":"#0000000000.{sequence}@1 "}}')


WORDS = [word(0), word(1), word(2)]
FINISH = choice('"delta":{}', finish_reason='"length"')
USAGE = 'data: {"choices":[],"usage":{"total_tokens":3}}\n\n'
FAULT = 'data: {"error":{"code":"worker_lost"}}\n\n'

OPENAI_CASES = {
    "a right stream": ("complete", openai(*WORDS, FINISH)),
    "a right stream that tells its usage": ("complete", openai(*WORDS, FINISH, USAGE)),
    "a token missing": ("wrong", openai(*WORDS[:2], FINISH)),
    "tokens in another order": ("wrong", openai(WORDS[1], WORDS[0], WORDS[2], FINISH)),
    "no reason to finish": ("wrong", openai(*WORDS)),
    "no end": ("wrong", openai(*WORDS, FINISH, end="")),
    "a token after the reason to finish": ("wrong", openai(*WORDS[:2], FINISH, WORDS[2])),
    "a chunk after the end": ("wrong", openai(*WORDS, FINISH, end="data: [DONE]\n\n" + USAGE)),
    "two ends": ("wrong", openai(*WORDS, FINISH, end="data: [DONE]\n\n" * 2)),
    "an event with a name": ("wrong", openai(*WORDS, "event: queued\n", FINISH)),
    "an error": ("failed", openai(*WORDS, FAULT, end="")),
    "an error that is followed by the end": ("failed", openai(*WORDS, FAULT)),
    "a connection cut": ("broken", openai(*WORDS)[:-5]),
}


def ndjson(*lines: str) -> bytes:
    """Return the lines of an answer as Ollama's protocol has them."""
    return chunked("".join(f"{line}\n" for line in lines), size=1000)


NOTHING = '{"model":"m","message":{"role":"assistant","content":""},"done":false}'
OLLAMA_CASES = {
    "a right stream": ("complete", ndjson(NOTHING, *RIGHT)),
    "a token missing": ("wrong", ndjson(token(0), token(2), END)),
    "no end": ("wrong", ndjson(*RIGHT[:-1])),
    "a line after the end": ("wrong", ndjson(*RIGHT, NOTHING)),
    "an error": ("failed", ndjson(*RIGHT[:2], '{"error":"the worker was lost"}')),
}
OF_PROTOCOLS = [("native", CASES), ("openai", OPENAI_CASES), ("ollama", OLLAMA_CASES)]


@pytest.mark.parametrize("piece", [1, 1 << 20], ids=["byte by byte", "at once"])
@pytest.mark.parametrize(
    ("surface", "outcome", "response"),
    [
        pytest.param(surface, *case, id=f"{surface}: {name}")
        for surface, cases in OF_PROTOCOLS
        for name, case in cases.items()
    ],
)
async def test_the_outcome_of_a_stream(
    c_programs: CPrograms, surface: Surface, outcome: str, response: bytes, piece: int
) -> None:
    async with server_that_answers(response, piece=piece, surface=surface) as target:
        report = await send_load(c_programs.load, target, target.streamed(UNPACED, TOKENS), ONCE)

    assert counted(report) == {outcome: 1}


async def test_an_answer_in_one_piece_is_judged_like_a_stream(c_programs: CPrograms) -> None:
    right, wrong = f"[{','.join(RIGHT)}]", f"[{','.join(RIGHT[1:])}]"
    for outcome, body in (("complete", right), ("wrong", wrong)):
        async with server_that_answers(sized("200 OK", body), piece=7) as target:
            report = await send_load(c_programs.load, target, target.whole(UNPACED, TOKENS), ONCE)

        assert counted(report) == {outcome: 1}


async def test_the_time_in_the_queue_is_read_from_the_end(c_programs: CPrograms) -> None:
    async with server_that_answers(chunked(stream(RIGHT), size=1000), piece=1000) as target:
        report = await send_load(c_programs.load, target, target.streamed(UNPACED, TOKENS), ONCE)

    assert report.queue_ms is not None
    assert report.queue_ms.max == 1.25


async def test_a_refusal_is_told_in_its_own_words(c_programs: CPrograms) -> None:
    async with server_that_answers(sized("503 No", '{"code":"queue_full"}'), piece=1000) as target:
        report = await send_load(c_programs.load, target, target.streamed(UNPACED, TOKENS), ONCE)

    assert "queue_full" in report.first_error


def counted(report: LoadReport) -> dict[str, int]:
    return {outcome: count for outcome in OUTCOMES if (count := getattr(report, outcome))}


@asynccontextmanager
async def server_that_answers(response: bytes, *, piece: int, surface: Surface = "native") -> AsyncGenerator[Target]:
    """A server that gives `response` to whatever it is asked, in writes of `piece` bytes, and closes the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        for at in range(0, len(response), piece):
            writer.write(response[at : at + piece])
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield Target(name="stand-in", port=server.sockets[0].getsockname()[1], surface=surface, token="t")
