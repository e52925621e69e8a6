from collections.abc import Sequence
from typing import Any, cast

import pytest
from litestar import Request
from litestar.types import HTTPScope

from gateway.client_address import ClientAddress


def request_from(address: str | None, *forwarded: str) -> Request[Any, Any, Any]:
    return Request(scope_from(address, "x-forwarded-for", forwarded))


def scope_from(address: str | None, header: str, values: Sequence[str]) -> HTTPScope:
    headers = [(header.encode(), value.encode()) for value in values]
    client = None if address is None else (address, 50_000)
    return cast("HTTPScope", {"type": "http", "headers": headers, "client": client, "state": {}})


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
        pytest.param("10.0.0.0/8", "10.0.0.1", ("198.51.100.1:49152",), "198.51.100.1", id="IPv4 with a port"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("[2001:db8::7]:443",), "2001:db8::7", id="IPv6 with a port"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("[2001:db8::7]",), "2001:db8::7", id="IPv6 in brackets"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("2001:DB8:0::07",), "2001:db8::7", id="IPv6 in another spelling"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("fe80::1%eth0",), "fe80::1", id="a zone"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("fe80::1%'; --",), "10.0.0.1", id="a zone that is none"),
        pytest.param("fe80::/10", "fe80::1%eth0", ("2001:db8::7",), "2001:db8::7", id="a proxy with a zone"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("192.0.2.66, 10.0.0.2:80",), "192.0.2.66", id="a proxy with a port"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("198.51.100.1:x",), "10.0.0.1", id="a port that is none"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("[10.0.0.2",), "10.0.0.1", id="half a bracket"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("0x0a.0.0.2",), "10.0.0.1", id="a hexadecimal address"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("010.0.0.2",), "10.0.0.1", id="an octal address"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("3232235777",), "10.0.0.1", id="an address as one number"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("١٩٨.51.100.1",), "10.0.0.1", id="digits that are no ASCII"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("unknown",), "10.0.0.1", id="a proxy that does not know"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("198.51.100.1 10.0.0.2",), "10.0.0.1", id="a space for a comma"),
        pytest.param("10.0.0.0/8", "10.0.0.1", (",",), "10.0.0.1", id="nothing but a comma"),
        pytest.param("0.0.0.0/0", "10.0.0.1", ("192.0.2.66, 198.51.100.1",), "192.0.2.66", id="everybody is trusted"),
        pytest.param("10.0.0.0/8", None, ("198.51.100.1",), "unknown", id="a unix socket"),
    ],
)
def test_the_client_is_the_first_hop_that_is_no_trusted_proxy(
    trusted: str, peer: str | None, forwarded: tuple[str, ...], expected: str
) -> None:
    assert ClientAddress(trusted).of(request_from(peer, *forwarded)) == expected


def test_the_header_forwarded_is_not_read() -> None:
    scope = scope_from("10.0.0.1", "forwarded", ["for=198.51.100.1;proto=https"])
    assert ClientAddress("10.0.0.0/8").of(Request(scope)) == "10.0.0.1"
    assert not ClientAddress("10.0.0.0/8").came_by_https(scope)


@pytest.mark.parametrize(
    ("trusted", "peer", "said", "secure"),
    [
        pytest.param("10.0.0.0/8", "10.0.0.1", ("https",), True, id="a trusted proxy says so"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("HTTPS",), True, id="in capitals"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("https, https",), True, id="two proxies say so"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("https, http",), False, id="two proxies disagree"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("https", "http"), False, id="two headers disagree"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("http",), False, id="plain"),
        pytest.param("10.0.0.0/8", "10.0.0.1", ("wss",), False, id="something else"),
        pytest.param("10.0.0.0/8", "10.0.0.1", (), False, id="nothing is said"),
        pytest.param("10.0.0.0/8", "203.0.113.9", ("https",), False, id="a stranger says so"),
        pytest.param("", "10.0.0.1", ("https",), False, id="nobody is trusted"),
        pytest.param("10.0.0.0/8", None, ("https",), False, id="a unix socket"),
    ],
)
def test_only_trusted_proxies_can_say_that_it_was_https(
    trusted: str,
    peer: str | None,
    said: tuple[str, ...],
    secure: bool,  # noqa: FBT001  a parameter
) -> None:
    assert ClientAddress(trusted).came_by_https(scope_from(peer, "x-forwarded-proto", said)) is secure
