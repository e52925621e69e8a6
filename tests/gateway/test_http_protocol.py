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
CHUNKED = b"Transfer-Encoding: chunked"
_CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"
SMUGGLED: dict[str, tuple[bytes, bytes]] = {
    "a length and chunks": (b"Content-Length: 2\r\n" + CHUNKED, _CHUNKS),
    "chunks and a length": (CHUNKED + b"\r\nContent-Length: 2", _CHUNKS),
    "chunks twice": (CHUNKED + b"\r\n" + CHUNKED, _CHUNKS),
    "chunks of nothing special": (b"Transfer-Encoding: identity, chunked", _CHUNKS),
    "chunks of something compressed": (b"Transfer-Encoding: gzip, chunked", _CHUNKS),
    "chunks, and something after them": (b"Transfer-Encoding: chunked, identity", _CHUNKS),
    "chunks in quotes": (b'Transfer-Encoding: "chunked"', _CHUNKS),
    "almost chunks": (b"Transfer-Encoding: xchunked", _CHUNKS),
    "no coding at all": (b"Transfer-Encoding: identity", b"{}"),
    "chunks behind a vertical tab": (b"Transfer-Encoding: \x0bchunked", _CHUNKS),
    "a space before the colon": (b"Transfer-Encoding : chunked", _CHUNKS),
    "chunks on a line of their own": (b"Transfer-Encoding:\r\n chunked", _CHUNKS),
    "a length with a plus": (b"Content-Length: +2", b"{}"),
    "a negative length": (b"Content-Length: -2", b"{}"),
    "a hexadecimal length": (b"Content-Length: 0x2", b"{}"),
    "the same length twice": (b"Content-Length: 2\r\nContent-Length: 2", b"{}"),
    "a list of lengths": (b"Content-Length: 2, 2", b"{}"),
    "a length in two parts": (b"Content-Length: 2 2", b"{}"),
    "an empty length": (b"Content-Length:", b"{}"),
    "a length beyond any number": (b"Content-Length: 99999999999999999999999", b"{}"),
    "a chunk's size with 0x": (CHUNKED, b"0x2\r\n{}\r\n0\r\n\r\n"),
    "a negative chunk": (CHUNKED, b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk beyond any number": (CHUNKED, b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than it says": (CHUNKED, b"2\r\n{}x\r\n0\r\n\r\n"),
    "a space behind a chunk's size": (CHUNKED, b"2 \r\n{}\r\n0\r\n\r\n"),
    "chunks with half of each line end": (CHUNKED, b"2\n{}\n0\n\n"),
    "half a line end behind an extension": (CHUNKED, b"2;a\n{}\r\n0\r\n\r\n"),
}
"""Heads and bodies of which two readers could see different ends."""
ODD_LINES: dict[str, bytes] = {
    "half of each line end": b"\nHost: x\n\n",
    "the other half": b"\rHost: x\r\r",
    "a header with a space in its name": b"\r\nHost: x\r\na b: c\r\n\r\n",
    "a header without a name": b"\r\nHost: x\r\n: c\r\n\r\n",
    "a header with NUL in its name": b"\r\nHost: x\r\na\x00: c\r\n\r\n",
    "a header with half a line end": b"\r\nHost: x\r\na: b\rc\r\n\r\n",
    "a header with the other half": b"\r\nHost: x\r\na: b\nc: d\r\n\r\n",
    "a header on two lines": b"\r\nHost: x\r\na: b\r\n c\r\n\r\n",
    "a space before the first header": b"\r\n Host: x\r\n\r\n",
    "a control character in a header": b"\r\nHost: x\r\na: \x7f\r\n\r\n",
}


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
        *(
            pytest.param(LOGIN + head + b"\r\n\r\n" + body, 400, "invalid_request", id=name)
            for name, (head, body) in SMUGGLED.items()
        ),
        *(
            pytest.param(b"GET /health HTTP/1.1" + lines, 400, "invalid_request", id=name)
            for name, lines in ODD_LINES.items()
        ),
        pytest.param(b"GET\t/health\tHTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed", id="tabs for spaces"),
        pytest.param(
            b"get /health HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed", id="a method in small letters"
        ),
        pytest.param(
            b"A" * 10_000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed", id="a long method"
        ),
        pytest.param(b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400, "invalid_request", id="a path with a space"),
        pytest.param(b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "invalid_request", id="a path with NUL"),
        pytest.param(
            b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "invalid_request", id="a path that is no ASCII"
        ),
        pytest.param(b"GET /health http/1.1\r\n" + HOST + b"\r\n", 400, "invalid_request", id="http in small letters"),
        pytest.param(
            b"GET /health HTTP/1.10\r\n" + HOST + b"\r\n", 400, "invalid_request", id="a version with two digits"
        ),
        pytest.param(
            b"GET /v1/auth/me HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + b"x" * 100_000,
            431,
            "headers_too_large",
            id="a token of 100 kB",
        ),
        pytest.param(
            LOGIN + CHUNKED + b"\r\n\r\n2\r\n{}\r\n0\r\na: " + b"b" * MAX_HEAD_BYTES + b"\r\n\r\n",
            431,
            "headers_too_large",
            id="a trailer that is too large",
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "invalid_request", id="a host with a user"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "invalid_request", id="a host with a space"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "invalid_request", id="a host's port in letters"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % (b"x" * 256), 400, "invalid_request", id="a host of 256 characters"
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


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(b"2\r\n{}\r\n0\r\na: ", id="a trailer"),
        pytest.param(b"2;a=", id="an extension of a chunk"),
        pytest.param(b"2\r\n{}\r\n0;a=", id="an extension of the last chunk"),
    ],
)
async def test_what_stands_beside_a_body_has_an_end(wire: Wire, endless: bytes) -> None:
    """The parser keeps a trailer until it is complete, and the bound of bodies does not count it."""
    await wire.send(LOGIN + CHUNKED + b"\r\nExpect: 100-continue\r\n\r\n" + endless)
    await wire.until_told_to_go_on()  # what comes in one piece with the head is part of that

    await wire.send(*[b"b" * 1000] * (3 * MAX_HEAD_BYTES // 1000))

    assert_refused(await wire.answer(), 431, "headers_too_large")


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
