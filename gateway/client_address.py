"""Finds out where a request really comes from, and whether by HTTPS, when proxies stand in between.

`X-Forwarded-For` and `X-Forwarded-Proto` are read, the first with or without ports, brackets and zones. The header
`Forwarded` (RFC 7239) is not: two headers that say the same are two that can contradict each other.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from litestar.connection import ASGIConnection
from litestar.types import HTTPScope

_UNKNOWN = "unknown"  # a connection over a unix socket has no address
_HOP = re.compile(
    r"\[(?P<bracketed>[^\[\]]*)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+)(?::[0-9]{1,5})?|(?P<v6>[0-9A-Fa-f:.]+(?:%[^\s]*)?)"
)


class ClientAddress:
    """Reads `X-Forwarded-For` from right to left, only as far as trusted proxies wrote it."""

    def __init__(self, trusted_proxy_ips: str) -> None:
        self._trusted = [ip_network(text.strip()) for text in trusted_proxy_ips.split(",") if text.strip()]

    def of(self, connection: ASGIConnection[Any, Any, Any, Any]) -> str:
        """Return the address of the first hop, seen from here, that is not a trusted proxy.

        Whatever stands further left in the header was written by that hop and is not believed.
        """
        client = connection.client
        address = client.host if client else _UNKNOWN
        if not self._trusted:
            return address
        for hop in reversed(",".join(connection.headers.getall("x-forwarded-for", [])).split(",")):
            if not _is_in(address, self._trusted) or not (forwarded := _canonical(hop)):
                break
            address = forwarded
        return address

    def came_by_https(self, scope: HTTPScope) -> bool:
        """Tell whether a trusted proxy says so, and no other proxy on the way says something else."""
        client = scope["client"]
        if not client or not _is_in(client[0], self._trusted):
            return False
        said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-proto")
        return all(scheme.strip().lower() == b"https" for scheme in said.split(b","))


def _is_in(address: str, networks: list[IPv4Network | IPv6Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _canonical(hop: str) -> str | None:
    match = _HOP.fullmatch(hop.strip())
    parsed = _parsed(match["bracketed"] or match["v4"] or match["v6"] or "") if match else None
    return None if parsed is None else str(parsed)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """Return an address without its zone.

    An IPv4 client of a dual-stack socket shows up as ::ffff:a.b.c.d and must not escape its network's rule.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
