"""Finds out where a request really comes from when proxies stand in between."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from litestar.connection import ASGIConnection

_UNKNOWN = "unknown"  # a connection over a unix socket has no address


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


def _is_in(address: str, networks: list[IPv4Network | IPv6Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(_unmapped(parsed) in network for network in networks)


def _canonical(text: str) -> str | None:
    try:
        return str(_unmapped(ip_address(text.strip())))
    except ValueError:
        return None


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 client of a dual-stack socket shows up as ::ffff:a.b.c.d and must not escape its network's rule."""
    return getattr(address, "ipv4_mapped", None) or address
