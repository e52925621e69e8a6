from typing import Any, cast

import pytest
from litestar import Request

from gateway.client_address import ClientAddress


def request_from(address: str | None, *forwarded: str) -> Request[Any, Any, Any]:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    client = None if address is None else (address, 50_000)
    return Request(cast("Any", {"type": "http", "headers": headers, "client": client, "state": {}}))


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "expected"),
    [
        pytest.param("", "203.0.113.9", ("198.51.100.1",), "203.0.113.9", id="nobody is trusted"),
        pytest.param("10.0.0.0/8", "203.0.113.9", ("198.51.100.1",), "203.0.113.9", id="the peer is not trusted"),
        pytest.param("10.0.0.0/8", "10.0.0.1", (), "10.0.0.1", id="a proxy that says nothing"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("198.51.100.1",), "198.51.100.1", id="one trusted proxy"),
        pytest.param(
            "10.0.0.0/8", "10.0.0.1", ("192.0.2.66, 198.51.100.1, 10.0.0.2",), "198.51.100.1", id="what a client forged"
        ),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("192.0.2.66", "198.51.100.1"), "198.51.100.1", id="two header lines"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("not an address",), "10.0.0.1", id="nonsense is not believed"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("192.0.2.66, , 10.0.0.2",), "10.0.0.2", id="a gap ends the way"),
        pytest.param("127.0.0.1, ::1", "::1", ("2001:db8::7",), "2001:db8::7", id="IPv6"),
        pytest.param("10.0.0.0/8", "::ffff:10.0.0.1", ("198.51.100.1",), "198.51.100.1", id="IPv4 in IPv6"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("::ffff:198.51.100.1",), "198.51.100.1", id="IPv4 in IPv6, forwarded"),
        pytest.param("10.0.0.0/8", None, ("198.51.100.1",), "unknown", id="a unix socket"),
    ],
)
def test_the_client_is_the_first_hop_that_is_no_trusted_proxy(
    trusted: str, peer: str | None, forwarded: tuple[str, ...], expected: str
) -> None:
    assert ClientAddress(trusted).of(request_from(peer, *forwarded)) == expected
