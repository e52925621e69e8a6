"""The load generator and the fake Ollama against each other: what is counted, never how fast."""

import asyncio
import re
import socket

import msgspec

from tests.benchmarks.c_programs import CPrograms
from tests.benchmarks.load import Load, LoadReport, send_load
from tests.benchmarks.targets import PACE, PACED, UNPACED, Target

TOKEN = re.compile(rb"#(\d+)\.(\d+)@(\d+) ")


def assert_all_complete(report: LoadReport, *, answers: int, tokens: int) -> None:
    assert (report.sent, report.complete) == (answers, answers), report
    assert report.wrong + report.failed + report.refused + report.broken + report.unfinished == 0
    assert report.tokens == answers * tokens
    assert report.first_error == ""


async def test_every_streamed_answer_is_whole_and_in_order(c_programs: CPrograms, direct: Target) -> None:
    report = await send_load(c_programs.load, direct, direct.streamed(UNPACED, 20), Load(clients=8, requests=5))

    assert_all_complete(report, answers=40, tokens=20)
    assert report.first_token_ms is not None
    assert report.first_token_ms.count == 40
    assert report.gap_ms is not None
    assert report.gap_ms.count == 40 * 19


async def test_every_answer_in_one_piece_is_whole_and_in_order(c_programs: CPrograms, direct: Target) -> None:
    report = await send_load(c_programs.load, direct, direct.whole(UNPACED, 20), Load(clients=8, requests=5))

    assert_all_complete(report, answers=40, tokens=20)


async def test_paced_streams_that_start_one_by_one_are_whole(c_programs: CPrograms, direct: Target) -> None:
    load = Load(clients=8, requests=1, ramp_s=0.1, pace=PACE)

    report = await send_load(c_programs.load, direct, direct.streamed(PACED, 5), load)

    assert_all_complete(report, answers=8, tokens=5)


async def test_answers_that_run_when_the_time_is_up_are_read_to_their_end(
    c_programs: CPrograms, direct: Target
) -> None:
    report = await send_load(c_programs.load, direct, direct.streamed(PACED, 10), Load(clients=4, seconds=0.05))

    assert_all_complete(report, answers=4, tokens=10)
    assert report.complete_in_window == 0
    assert report.tokens_in_window < report.tokens


async def test_a_model_that_is_not_there_is_a_refusal_with_its_reason(c_programs: CPrograms, direct: Target) -> None:
    report = await send_load(c_programs.load, direct, direct.streamed("none", 5), Load(clients=1, requests=2))

    assert (report.sent, report.refused) == (2, 2)
    assert "model not found" in report.first_error


async def test_the_fake_announces_its_models_as_ollama_does(direct: Target) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", direct.port)
    writer.write(b"GET /api/tags HTTP/1.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # pyright: ignore[reportOptionalSubscript]
    tags = msgspec.json.decode(await reader.readexactly(length))
    writer.close()

    assert [model["name"] for model in tags["models"]] == ["bench:unpaced", "bench:paced", "bench:slow"]
    assert {len(model["digest"]) for model in tags["models"]} == {64}


async def test_a_reader_that_falls_behind_misses_nothing(direct: Target) -> None:
    """The fake outruns the socket's buffers, waits, and goes on where it stopped."""
    tokens = 30_000
    body = direct.streamed(UNPACED, tokens).body.encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", direct.port))
        connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
        writer.write(b"POST /api/chat HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        answer = bytearray()
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            answer += await reader.read(65536)
        writer.close()

    assert [int(sequence) for _, sequence, _ in TOKEN.findall(answer)] == list(range(tokens))
    assert answer.count(b'"done":true') == 1
