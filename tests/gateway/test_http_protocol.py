"""What is no decent HTTP/1.1 is refused in our shape, and nobody holds a connection for ever."""

from collections.abc import AsyncGenerator

import httpx
import pytest

from gateway.http_protocol import MAX_HEAD_BYTES, MAX_HEADERS
from gateway.security_headers import SECURITY_HEADERS
from tests.databases import Databases
from tests.gateway.conftest import JWT_SECRET
from tests.processes import ProcessStarter, ServerProcess
from tests.raw_http import Wire, wire_to

HOST = b"Host: x\r\n"
GET = b"GET /health HTTP/1.1\r\n" + HOST
LOGIN = b"POST /v1/auth/login HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
async def hasty(
    databases: Databases, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[ServerProcess]:
    """A gateway with little patience for those who say nothing."""
    async with databases.fresh() as database_url, ProcessStarter(tmp_path_factory.mktemp("hasty")) as start_process:
        yield await start_process(
            "gateway",
            {
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_server,
                "JWT_SECRET": JWT_SECRET,
                "RATE_LIMIT_ENABLED": "false",
                "MAX_REQUEST_SIZE_BYTES": "4096",
                "SERVER_IDLE_TIMEOUT_SECS": "1",
            },
        )


@pytest.fixture
async def wire(gateway: ServerProcess) -> AsyncGenerator[Wire]:
    """A connection to a gateway that waits a second for heads and bodies, and long for a request."""
    async with wire_to(gateway.url) as wire:
        yield wire


@pytest.fixture
async def hasty_wire(hasty: ServerProcess) -> AsyncGenerator[Wire]:
    """A connection to a gateway that waits a second for a request, and long for heads and bodies."""
    async with wire_to(hasty.url) as wire:
        yield wire


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 405, "method_not_allowed", id="TLS"),
        pytest.param(b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed", id="an unknown method"),
        pytest.param(b"CONNECT x:1 HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed", id="a proxy's method"),
        pytest.param(b"GET /\r\n\r\n", 400, "invalid_request", id="no version"),
        pytest.param(b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 400, "invalid_request", id="a version we do not speak"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_request", id="HTTP/2"),
        pytest.param(GET + b"no colon\r\n\r\n", 400, "invalid_request", id="a header without a colon"),
        pytest.param(GET + b"a: \x00\r\n\r\n", 400, "invalid_request", id="NUL in a header"),
        pytest.param(LOGIN + b"Content-Length: x\r\n\r\n", 400, "invalid_request", id="a length that is none"),
        pytest.param(
            LOGIN + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "invalid_request", id="two lengths"
        ),
        pytest.param(
            LOGIN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "invalid_request", id="a chunk without a length"
        ),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, "invalid_request", id="no host"),
        pytest.param(GET + HOST + b"\r\n", 400, "invalid_request", id="two hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "invalid_request", id="an empty host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "invalid_request", id="a host that is a path"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "invalid_request", id="a list of hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400, "invalid_request", id="a host that is no ASCII"),
        pytest.param(
            GET + b"a: b\r\n" * MAX_HEADERS + b"\r\n", 431, "headers_too_large", id="one header more than allowed"
        ),
        pytest.param(
            GET + b"a: %b\r\n\r\n" % (b"b" * MAX_HEAD_BYTES), 431, "headers_too_large", id="a header that is too large"
        ),
        pytest.param(GET + b"a: " + b"b" * MAX_HEAD_BYTES, 431, "headers_too_large", id="a header without an end"),
        pytest.param(
            b"GET /%b HTTP/1.1\r\n" % (b"b" * MAX_HEAD_BYTES), 431, "headers_too_large", id="a path that is too large"
        ),
        pytest.param(GET[:-1], 408, "request_timeout", id="half a head"),
        pytest.param(b"G", 408, "request_timeout", id="one letter"),
    ],
)
async def test_what_is_no_decent_http_is_refused(wire: Wire, sent: bytes, status: int, code: str) -> None:
    await wire.send(sent)

    assert_refused(await wire.answer(), status, code)
    assert await wire.until_closed() == b""


async def test_a_head_is_bounded_however_small_its_pieces_are(wire: Wire) -> None:
    await wire.send(GET, *[b"a: %b\r\n" % (b"b" * 1000)] * (MAX_HEAD_BYTES // 1000 + 1))

    assert_refused(await wire.answer(), 431, "headers_too_large")


async def test_the_request_id_of_the_client_stands_in_refusals_too(wire: Wire) -> None:
    await wire.send(GET + b"X-Request-Id: mine\r\n" + HOST + b"\r\n")

    assert (await wire.answer()).headers["X-Request-Id"] == "mine"


async def test_every_request_of_a_connection_is_held_to_the_bounds(wire: Wire) -> None:
    await wire.send(GET + b"\r\n")
    assert (await wire.answer()).status_code == 200
    await wire.send(GET[:-1])

    assert_refused(await wire.answer(), 408, "request_timeout")


async def test_the_answers_before_a_wrong_request_are_not_lost(wire: Wire) -> None:
    await wire.send(GET + b"\r\n" + GET + HOST + b"\r\n")

    assert (await wire.answer()).status_code == 200
    await wire.until_closed()


@pytest.mark.parametrize("host", [b"localhost:8000", b"127.0.0.1", b"[::1]:80", b"llm.example.org", b"some_host"])
async def test_hosts_that_are_well_formed_are_taken(wire: Wire, host: bytes) -> None:
    await wire.send(b"GET /health HTTP/1.1\r\nHost: %b\r\n\r\n" % host)

    assert (await wire.answer()).status_code == 200


async def test_http_1_0_needs_no_host(wire: Wire) -> None:
    await wire.send(b"GET /health HTTP/1.0\r\n\r\n")

    assert (await wire.answer()).status_code == 200


async def test_as_many_headers_as_allowed_are_taken(wire: Wire) -> None:
    await wire.send(GET + b"a: b\r\n" * (MAX_HEADERS - 1) + b"\r\n")

    assert (await wire.answer()).status_code == 200


@pytest.mark.parametrize("chunked", [True, False], ids=["in chunks", "in one piece"])
async def test_an_offer_to_upgrade_is_passed_over(wire: Wire, chunked: bool) -> None:  # noqa: FBT001  a parameter
    """What `curl --http2` sends: the body belongs to this request, and the connection goes on."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    body = b'{"email": 1}'
    framing, framed = (
        (b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        if chunked
        else (b"Content-Length: %d\r\n\r\n" % len(body), body)
    )

    for pieces in ((LOGIN + offer + framing, framed[:5], framed[5:]), (LOGIN + offer + framing + framed,)):
        await wire.send(*pieces)
        answer = await wire.answer()
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "email")


async def test_trailers_do_not_become_headers(wire: Wire) -> None:
    await wire.send(LOGIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n" + GET + b"\r\n")

    assert (await wire.answer()).status_code == 422
    assert (await wire.answer()).status_code == 200


async def test_a_connection_that_says_nothing_is_closed(hasty_wire: Wire) -> None:
    assert await hasty_wire.until_closed() == b""


async def test_a_connection_that_says_nothing_more_is_closed(hasty_wire: Wire) -> None:
    await hasty_wire.send(GET + b"\r\n")

    assert (await hasty_wire.answer()).status_code == 200
    assert await hasty_wire.until_closed() == b""


async def test_empty_lines_say_nothing(hasty_wire: Wire) -> None:
    await hasty_wire.send_until_cut_off(b"\r\n")


async def test_a_connection_whose_body_came_after_its_answer_is_closed_as_others_are(hasty_wire: Wire) -> None:
    await hasty_wire.send(LOGIN + b"Content-Length: 5000\r\n\r\n")
    assert (await hasty_wire.answer()).status_code == 413
    await hasty_wire.send(b" " * 2500, b" " * 2500)

    assert await hasty_wire.until_closed() == b""


async def test_a_connection_whose_body_came_after_its_answer_can_go_on(wire: Wire) -> None:
    await wire.send(LOGIN + b"Content-Length: 5000\r\n\r\n")
    assert (await wire.answer()).status_code == 413
    await wire.send(b" " * 5000, GET + b"\r\n")

    assert (await wire.answer()).status_code == 200


async def test_who_goes_on_sending_after_the_answer_is_cut_off(wire: Wire) -> None:
    await wire.send(LOGIN + b"Content-Length: 1000000000000\r\n\r\n")
    assert (await wire.answer()).status_code == 413

    await wire.send_until_cut_off(b" " * 1000)


async def test_who_goes_on_sending_after_a_refusal_is_cut_off(wire: Wire) -> None:
    await wire.send(GET + HOST + b"\r\n")
    assert (await wire.answer()).status_code == 400

    await wire.send_until_cut_off(b" " * 1000)


def assert_refused(response: httpx.Response, status: int, code: str) -> None:
    """Hold a refusal to what every answer has."""
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    assert response.headers.items() >= {(name.decode(), value.decode()) for name, value in SECURITY_HEADERS}
    assert response.json()["error"].keys() == {"code", "type", "message", "param", "request_id"}
    assert response.json()["error"]["request_id"] == response.headers["X-Request-Id"]
    assert response.headers["Connection"] == "close"
