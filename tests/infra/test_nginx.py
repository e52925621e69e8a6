"""infra/nginx/nginx.conf.template in a real nginx, in front of a real server that stands where the gateway stands."""

import asyncio
import getpass
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
from aiohttp import ClientSession, ClientTimeout, web

from tests.http_server import nobody_listening, serving

TEMPLATE = Path(__file__).parents[2] / "infra" / "nginx" / "nginx.conf.template"
LARGEST_BODY = 64 * 1024
HANG_LIMIT_S = 15
SECRET = "eyJhbGciOiJIUzI1NiJ9.c3RyZWFt.c2lnbmVk"


class Front(NamedTuple):
    """A running nginx."""

    url: str
    address: tuple[str, int]
    process: subprocess.Popen[bytes]
    output: Path

    def finish(self) -> str:
        """End it and return all that it wrote: the access log and the error log."""
        self.process.terminate()
        self.process.wait(HANG_LIMIT_S)
        return self.output.read_text()

    def logged_request(self) -> dict[str, Any]:
        """End it and return the one line of its access log."""
        (line,) = (line for line in self.finish().splitlines() if line.startswith("{"))
        return json.loads(line)


class StartFront(Protocol):
    """Starts an nginx in front of `gateway`; `values` fill placeholders with other than the usual values."""

    def __call__(self, gateway: str, **values: str) -> Front: ...


@pytest.fixture(scope="session")
def nginx() -> str:
    """The nginx program; without one these tests are skipped, but never in CI."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("nginx is not installed, and CI=true requires it")
    return program or pytest.skip("nginx is not installed: how the reverse proxy behaves was NOT tested")


@pytest.fixture
def start_front(nginx: str, tmp_path: Path) -> Iterator[StartFront]:
    with ExitStack() as fronts:

        def start(gateway: str, **values: str) -> Front:
            return fronts.enter_context(_running(nginx, tmp_path, gateway, values))

        yield start


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession(auto_decompress=False, timeout=ClientTimeout(total=HANG_LIMIT_S)) as session:
        yield session


@contextmanager
def _running(program: str, directory: Path, gateway: str, values: dict[str, str]) -> Generator[Front]:
    # nginx cannot take port 0, but it takes a socket that listens already, as in an upgrade of its binary.
    with socket.create_server(("127.0.0.1", 0)) as listener, (directory / "output").open("ab") as output:
        host, port = listener.getsockname()
        configuration = _render(directory, {"GATEWAY_UPSTREAM": gateway, "NGINX_LISTEN": f"{host}:{port}"} | values)
        process = subprocess.Popen(
            [*_command(program, directory, configuration), "-g", f"daemon off; user {getpass.getuser()};"],
            env={"NGINX": f"{listener.fileno()};"},
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=output,
        )
    try:
        yield Front(f"http://{host}:{port}", (host, port), process, directory / "output")
    finally:
        process.terminate()
        process.wait(HANG_LIMIT_S)


def _render(directory: Path, values: dict[str, str]) -> Path:
    """Fill the template as the official image's entrypoint does; a placeholder without a value is an error."""
    settings = {
        "MAX_CHAT_REQUEST_SIZE_BYTES": str(LARGEST_BODY),
        "NGINX_ERROR_LOG_LEVEL": "alert",
        "NGINX_LOCAL_RESOLVERS": "127.0.0.1",
        "NGINX_REAL_IP_FROM": "192.0.2.0/24",
        "NGINX_RUN_DIR": str(directory),
    } | values
    configuration = directory / "nginx.conf"
    configuration.write_text(re.sub(r"\$\{([A-Z_]+)\}", lambda found: settings[found[1]], TEMPLATE.read_text()))
    return configuration


def _command(program: str, directory: Path, configuration: Path) -> list[str]:
    return [program, "-e", "stderr", "-p", str(directory), "-c", str(configuration)]


async def reflect(request: web.Request) -> web.Response:
    """Answer with the request as it arrived."""
    return web.json_response(
        {"target": request.raw_path, "headers": {name.lower(): value for name, value in request.headers.items()}}
    )


async def exchange(address: tuple[str, int], request: bytes) -> tuple[str, Any]:
    """Send bytes as they are; return the head of the answer in lower case and the JSON of its body."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    async with asyncio.timeout(HANG_LIMIT_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await reader.readexactly(int(re.findall(r"content-length: (\d+)", head)[0]))
    writer.close()
    return head, json.loads(body)


def test_the_configuration_is_valid(nginx: str, tmp_path: Path) -> None:
    configuration = _render(tmp_path, {"GATEWAY_UPSTREAM": "127.0.0.1:8080", "NGINX_LISTEN": "8080"})
    verdict = subprocess.run(
        [*_command(nginx, tmp_path, configuration), "-t"], capture_output=True, text=True, check=False
    )
    assert verdict.returncode == 0, verdict.stderr
    assert "[warn]" not in verdict.stderr


@pytest.mark.parametrize("length", [None, 1_000], ids=["in chunks", "of known length"])
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/chat/stream", "text/event-stream"),
        ("/api/v1/chat/stream", "text/event-stream"),
        ("/ollama/api/chat", "application/x-ndjson"),
    ],
)
async def test_every_event_arrives_before_the_next_is_written(
    start_front: StartFront, client: ClientSession, path: str, content_type: str, length: int | None
) -> None:
    """The server waits for the client's word before it writes on: whatever is held back in between stops both.

    Even when told to buffer, nginx passes chunks on; what has a length it would collect.
    """
    events = [b"data: %043d\n" % number for number in range(20)]
    arrived = asyncio.Semaphore(0)

    async def gateway(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.content_length = length
        await response.prepare(request)
        for event in events:
            await response.write(event)
            await arrived.acquire()
        return response

    async with serving(gateway) as upstream:
        front = start_front(upstream)
        async with client.post(front.url + path, json={}, headers={"Accept-Encoding": "gzip"}) as answer:
            assert "Content-Encoding" not in answer.headers
            for event in events:
                assert await answer.content.readline() == event
                arrived.release()
            assert await answer.content.read() == b""


async def test_connections_to_a_gateway_are_kept(start_front: StartFront, client: ClientSession) -> None:
    async def gateway(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.json_response(request.transport.get_extra_info("peername"))

    async with serving(gateway) as upstream:
        front = start_front(upstream)
        peers: list[object] = []
        for _ in range(2):
            async with client.post(front.url) as answer:
                peers.append(await answer.json())
    assert peers[0] == peers[1]


async def test_a_client_that_goes_away_takes_its_request_with_it(
    start_front: StartFront, client: ClientSession
) -> None:
    abandoned = asyncio.Event()

    async def gateway(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        try:
            await asyncio.Event().wait()
        finally:
            abandoned.set()
        return response

    async with serving(gateway) as upstream:
        front = start_front(upstream)
        answer = await client.post(front.url + "/v1/chat/stream")
        assert await answer.content.readline() == b"data: first\n"
        answer.close()
        async with asyncio.timeout(HANG_LIMIT_S):
            await abandoned.wait()


@pytest.mark.parametrize(
    ("asked", "passed_on"),
    [
        ("/health", "/health"),
        ("/api/health", "/health"),
        ("/api/health/ready?x=1", "/health/ready?x=1"),
        ("/api/v1/models/hf.co%2Fsome%2Fmodel:q4", "/v1/models/hf.co%2Fsome%2Fmodel:q4"),
        ("/v1/models/hf.co%2Fsome%2Fmodel:q4", "/v1/models/hf.co%2Fsome%2Fmodel:q4"),
        ("/ollama/api/chat", "/ollama/api/chat"),
        ("/api/ollama/api/chat", "/ollama/api/chat"),
        ("/openai/v1/chat/completions", "/openai/v1/chat/completions"),
        ("/apiary", "/apiary"),
        ("/api", "/api"),
        ("/api/", "/"),
        ("/api//v1", "//v1"),
        ("/", "/"),
    ],
)
async def test_the_api_answers_at_the_root_and_below_api(start_front: StartFront, asked: str, passed_on: str) -> None:
    async with serving(reflect) as upstream:
        front = start_front(upstream)
        _, request = await exchange(front.address, f"GET {asked} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert request["target"] == passed_on


@pytest.mark.parametrize("query", [f"stream_token={SECRET}", f"a=1&token={SECRET}&b=2", f"stream%5Ftoken={SECRET}"])
async def test_tokens_in_queries_reach_the_gateway_and_no_log(
    start_front: StartFront, client: ClientSession, query: str
) -> None:
    async with serving(reflect) as upstream:
        front = start_front(upstream)
        async with client.get(f"{front.url}/api/v1/chat/42/stream?{query}") as answer:
            assert SECRET in (await answer.json())["target"]
    assert front.logged_request()["path"] == "/api/v1/chat/42/stream"
    assert SECRET not in front.finish()


async def test_tokens_reach_no_log_when_the_gateway_is_dead(start_front: StartFront, client: ClientSession) -> None:
    """For every failure of an upstream nginx has a message that quotes the request line."""
    with nobody_listening() as upstream:
        front = start_front(upstream)
        async with client.get(f"{front.url}/v1/chat/42/stream?stream_token={SECRET}") as answer:
            assert answer.status == 503
    assert front.logged_request()["gateway_status"] == "502"
    assert SECRET not in front.finish()


@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [("abc-DEF_1.2", "abc-DEF_1.2"), ("x" * 128, "x" * 128), ("x" * 129, None), ('"}', None), (None, None)],
    ids=["harmless", "as long as allowed", "too long", "hostile", "none"],
)
async def test_the_request_id_is_the_clients_if_harmless_and_the_same_everywhere(
    start_front: StartFront, client: ClientSession, sent: str | None, passed_on: str | None
) -> None:
    async with serving(reflect) as upstream:
        front = start_front(upstream)
        async with client.get(front.url, headers={"X-Request-Id": sent} if sent else {}) as answer:
            seen: str = (await answer.json())["headers"]["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", seen) if passed_on is None else seen == passed_on
    assert front.logged_request()["request_id"] == seen


FORGED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Forwarded": "for=203.0.113.9"}


@pytest.mark.parametrize(
    ("real_ip_from", "address", "scheme"),
    [("192.0.2.0/24", "127.0.0.1", "http"), ("127.0.0.0/8", "203.0.113.9", "https")],
    ids=["from anybody", "from the proxy in front"],
)
async def test_forwarded_headers_are_believed_only_from_the_proxy_in_front(
    start_front: StartFront, client: ClientSession, real_ip_from: str, address: str, scheme: str
) -> None:
    async with serving(reflect) as upstream:
        front = start_front(upstream, NGINX_REAL_IP_FROM=real_ip_from)
        async with client.get(front.url, headers=FORGED) as answer:
            headers = (await answer.json())["headers"]
    assert headers["x-forwarded-for"] == address
    assert headers["x-forwarded-proto"] == scheme
    assert "forwarded" not in headers


async def test_a_gateway_that_cannot_be_connected_to_is_passed_over(
    start_front: StartFront, client: ClientSession
) -> None:
    async with serving(reflect) as alive:
        with nobody_listening() as dead:
            front = start_front(f"{dead}; server {alive}")
            for _ in range(8):
                async with client.post(f"{front.url}/v1/chat", json={}) as answer:
                    assert answer.status == 200


async def test_a_post_that_a_gateway_has_seen_is_never_sent_again(
    start_front: StartFront, client: ClientSession
) -> None:
    seen: list[str] = []

    async def dying_gateway(request: web.Request) -> web.StreamResponse:
        seen.append(request.method)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with serving(dying_gateway) as one, serving(dying_gateway) as other:
        front = start_front(f"{one}; server {other}")
        async with client.post(f"{front.url}/v1/chat", json={}) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "1"
            assert (await answer.json())["error"]["code"] == "unavailable"
    assert seen == ["POST"]
    logged = front.logged_request()
    assert (logged["method"], logged["path"], logged["status"]) == ("POST", "/v1/chat", 503)


def _post(path: str, headers: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode()


CHUNKED_TOO_LARGE = (
    _post("/v1/chat", "Transfer-Encoding: chunked") + (b"%x\r\n" % LARGEST_BODY + b"x" * LARGEST_BODY + b"\r\n") * 2
)


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        pytest.param(_post("/v1/chat", f"Content-Length: {LARGEST_BODY + 1}"), 413, "body_too_large", id="long body"),
        pytest.param(CHUNKED_TOO_LARGE, 413, "body_too_large", id="long body in chunks"),
        pytest.param(_post("/", f"X: {'x' * 9000}"), 431, "invalid_request", id="long header"),
        pytest.param(
            _post("/", "\r\n".join(f"X: {'x' * 8000}" for _ in range(5))), 431, "invalid_request", id="many headers"
        ),
        pytest.param(_post("/" + "x" * 9000, "X: y"), 414, "invalid_request", id="long path"),
        pytest.param(_post("/", "Content-Length: x"), 400, "invalid_request", id="wrong length"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, "invalid_request", id="no host"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "invalid_request", id="not HTTP"),
        pytest.param(b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed", id="trace"),
    ],
)
async def test_what_nginx_refuses_has_the_apis_shape_and_reaches_no_gateway(
    start_front: StartFront, request_bytes: bytes, status: int, code: str
) -> None:
    async def gateway(_request: web.Request) -> web.StreamResponse:
        pytest.fail("the request reached the gateway")

    async with serving(gateway) as upstream:
        head, body = await exchange(start_front(upstream).address, request_bytes)
    assert head.startswith(f"http/1.1 {status} ")
    assert "\r\nserver: nginx\r\n" in head
    assert "\r\nx-content-type-options: nosniff\r\n" in head
    error = body["error"]
    assert error["code"] == code
    assert error["param"] is None
    assert f"\r\nx-request-id: {error['request_id']}\r\n" in head


@pytest.mark.parametrize("path", ["/ollama/api/chat", "/api/ollama/api/chat"])
async def test_what_nginx_refuses_below_ollama_has_ollamas_shape(start_front: StartFront, path: str) -> None:
    with nobody_listening() as upstream:
        _, body = await exchange(start_front(upstream).address, _post(path, f"Content-Length: {LARGEST_BODY + 1}"))
    assert body == {"error": f"The body is larger than {LARGEST_BODY} bytes."}
