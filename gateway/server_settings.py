"""Where the gateway listens, and how much it takes from a client."""

from ipaddress import ip_network
from typing import Annotated, Self

from msgspec import Meta, Struct

from shared.settings import Port, Seconds, SettingsError

_ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  nobody can connect to them  # nosec B104
_EXAMPLE_OF_PROXIES = "Example: TRUSTED_PROXY_IPS=10.0.0.0/8,127.0.0.1"


class ServerSettings(Struct, frozen=True):
    """Where the gateway listens and how much it takes from a client."""

    app_host: Annotated[
        str,
        Meta(description="Address to listen on.", examples=["0.0.0.0"]),  # noqa: S104  an example  # nosec B104
    ] = "127.0.0.1"
    app_port: Annotated[Port, Meta(description="Port to listen on.", examples=["8000"])] = 8000
    app_public_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/\s]+(/[^\s]*)?)?$",
            extra={"expected": "a URL that begins with http:// or https://"},
            description="Where clients reach the gateway; unset, each gateway's own host and port.",
            examples=["https://llm.example.org"],
        ),
    ] = ""
    request_id_header: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9-]{1,64}$",
            extra={"expected": "at most 64 letters, digits and hyphens"},
            description="Header that carries the request id, both ways.",
            examples=["X-Request-Id"],
        ),
    ] = "X-Request-Id"
    trusted_proxy_ips: Annotated[
        str,
        Meta(
            description="Networks whose X-Forwarded-For and -Proto are believed, separated by commas.",
            examples=["10.0.0.0/8,127.0.0.1"],
        ),
    ] = ""
    force_https: Annotated[
        bool,
        Meta(
            description="Refuse what a trusted proxy does not say came by https (X-Forwarded-Proto).",
            examples=["true"],
        ),
    ] = False
    max_request_size_bytes: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="Largest JSON body in bytes.", examples=["1048576"])
    ] = 1 << 20
    max_chat_request_size_bytes: Annotated[
        int,
        Meta(
            ge=1024, le=1 << 30, description="Largest body of a chat, images included, in bytes.", examples=["20971520"]
        ),
    ] = 20 << 20
    server_read_timeout_secs: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="A request's headers, then its body must have arrived within this.",
            examples=["30"],
        ),
    ] = 30
    server_write_timeout_secs: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="A client that takes nothing of its answer for this long is cut off.",
            examples=["60"],
        ),
    ] = 60
    server_idle_timeout_secs: Annotated[
        int, Meta(ge=1, le=86_400, description="An idle connection is closed after this.", examples=["75"])
    ] = 75
    schema_enabled: Annotated[bool, Meta(description="Whether /schema/openapi.json is served.", examples=["true"])] = (
        True
    )
    gateway_drain_secs: Annotated[
        Seconds,
        Meta(description="Running requests may take this long after SIGTERM; then they get a 503.", examples=["120"]),
    ] = 120

    @property
    def public_url(self) -> str:
        """`APP_PUBLIC_URL` without a slash at its end, or the address listened on, as this machine reaches it."""
        host = _ALL_ADDRESSES.get(self.app_host, self.app_host)
        local = f"http://[{host}]:{self.app_port}" if ":" in host else f"http://{host}:{self.app_port}"
        return self.app_public_url.rstrip("/") or local

    def checked(self) -> Self:
        """Return these settings.

        Raises:
            SettingsError: TRUSTED_PROXY_IPS has something that is no network, or FORCE_HTTPS would refuse everything.

        """
        for text in filter(None, map(str.strip, self.trusted_proxy_ips.split(","))):
            try:
                ip_network(text)
            except ValueError as error:
                raise SettingsError(f"TRUSTED_PROXY_IPS is wrong: {error}. {_EXAMPLE_OF_PROXIES}") from None
        if self.force_https:
            if not self.trusted_proxy_ips.strip():
                raise SettingsError(
                    "FORCE_HTTPS=true needs TRUSTED_PROXY_IPS: only a proxy can say what came by https. "
                    + _EXAMPLE_OF_PROXIES
                )
            if not self.app_public_url.startswith("https://"):
                raise SettingsError(
                    "FORCE_HTTPS=true needs an APP_PUBLIC_URL that begins with https://: a stream_url leads there. "
                    "Example: APP_PUBLIC_URL=https://llm.example.org"
                )
        return self
