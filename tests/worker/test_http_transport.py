"""The transport against servers that write bytes by hand; how Ollama's answers break is in test_ollama.py."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest

from tests.waiting import wait_until
from worker.http_transport import UNREAD_LIMIT_BYTES, Transport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b""  # in place of an answer: the connection ends


class Server:
    """Answers the requests of all connections in turn, each with bytes as they are; `CLOSE` ends the connection."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.port = 0
        self._answers = list(answers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while head := await _head_of(reader):
                self.requests.append(head)
                answer = self._answers.pop(0)
                writer.write(answer.removesuffix(b"\0"))
                await writer.drain()
                if answer == CLOSE or answer.endswith(b"\0"):
                    break
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()


async def _head_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


@asynccontextmanager
async def serving(*answers: bytes) -> AsyncGenerator[Server]:
    server = Server(answers)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


@pytest.fixture
async def transport() -> AsyncGenerator[Transport]:
    async with aclosing(Transport()) as opened:
        yield opened


async def get(transport: Transport, server: Server) -> httpx.Response:
    url = f"http://127.0.0.1:{server.port}/api/tags"
    request = httpx.Request("GET", url, extensions={"timeout": {"connect": 5}})
    response = await transport.handle_async_request(request)
    await response.aread()
    return response


async def test_a_kept_connection_serves_one_request_after_the_other(transport: Transport) -> None:
    async with serving(OK, CHUNKED + b"2\r\nok\r\n0\r\n\r\n", OK) as server:
        assert [(await get(transport, server)).content for _ in range(3)] == [b"ok"] * 3
        assert server.connections == 1
        assert server.requests[0].startswith(b"GET /api/tags HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), id="that says close"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nok\0", id="whose end is the connection's"),
        pytest.param(OK + OK, id="that comes twice"),
    ],
)
async def test_an_answer_leaves_no_connection(transport: Transport, answer: bytes) -> None:
    async with serving(answer, OK) as server:
        assert [(await get(transport, server)).content for _ in range(2)] == [b"ok"] * 2
        assert server.connections == 2
        await wait_until(lambda: server.open == 1, description="the first connection is closed")


async def test_news_before_the_answer_are_not_the_answer(transport: Transport) -> None:
    async with serving(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK) as server:
        response = await get(transport, server)
        assert (response.status_code, response.content) == (200, b"ok")
        assert "link" not in response.headers


async def test_an_answer_without_a_body_is_complete(transport: Transport) -> None:
    async with serving(b"HTTP/1.1 204 No Content\r\n\r\n", OK) as server:
        assert (await get(transport, server)).status_code == 204
        assert (await get(transport, server)).content == b"ok"
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(CLOSE, httpx.ReadError, id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", httpx.RemoteProtocolError, id="no HTTP"),
        pytest.param(OK[:-1] + b"\0", httpx.ReadError, id="half a body"),
        pytest.param(CHUNKED + b"zz\r\n", httpx.RemoteProtocolError, id="half a body, then no HTTP"),
        pytest.param(CHUNKED + b"2\r\nok\r\n\0", httpx.ReadError, id="chunks without an end"),
    ],
)
async def test_what_is_no_answer_is_an_error(
    transport: Transport, answer: bytes, error: type[httpx.TransportError]
) -> None:
    async with serving(answer) as server:
        with pytest.raises(error):
            await get(transport, server)
        await wait_until(lambda: server.open == 0, description="the connection is closed")


async def test_a_connection_that_ended_while_it_was_idle_is_not_used(transport: Transport) -> None:
    async with serving(OK + b"\0", OK) as server:
        await get(transport, server)
        await wait_until(lambda: transport.count_idle() == 0, description="its end was noticed")
        assert (await get(transport, server)).content == b"ok"


async def test_an_idle_connection_on_which_something_comes_is_closed(transport: Transport) -> None:
    written: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head_of(reader)
        writer.write(OK)
        written.append(writer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        server = Server(())
        server.port = listening.sockets[0].getsockname()[1]
        await get(transport, server)
        assert transport.count_idle() == 1
        written[0].write(OK)
        await wait_until(lambda: transport.count_idle() == 0, description="the connection is given up")


async def test_a_busy_reader_holds_up_the_sender(transport: Transport) -> None:
    body = b"x" * (64 * UNREAD_LIMIT_BYTES)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(head + body) as server:
        url = f"http://127.0.0.1:{server.port}/"
        request = httpx.Request("GET", url, extensions={"timeout": {"connect": 5}})
        response = await transport.handle_async_request(request)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        connection = getattr(stream, "_connection")  # noqa: B009  it is private
        await wait_until(lambda: connection._is_paused, description="nothing more is taken")
        assert connection._unread_bytes < 2 * UNREAD_LIMIT_BYTES
        assert len(await response.aread()) == len(body)
