"""The gateway's settings: one frozen group for the server, one for accounts, and the groups shared by all roles."""

import logging
import secrets
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from gateway.admission.settings import QueueSettings, RateLimitSettings
from shared.settings import (
    AppSettings,
    DatabaseSettings,
    Port,
    RedisSettings,
    Seconds,
    SettingsError,
    StreamSettings,
    load,
)

JWT_SECRET_MIN_BYTES = 32  # HS256 wants a key as long as its digest (RFC 7518, 3.2)

logger = logging.getLogger(__name__)


class ServerSettings(Struct, frozen=True):
    """Where the gateway listens and how much it takes from a client."""

    app_host: Annotated[str, Meta(description="Address to listen on.", examples=["0.0.0.0"])] = "127.0.0.1"  # noqa: S104
    app_port: Annotated[Port, Meta(description="Port to listen on.", examples=["8080"])] = 8080
    app_public_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/\s]+(/[^\s]*)?)?$",
            description="Where clients reach the gateway; unset means http:// with host and port.",
            examples=["https://llm.example.org"],
        ),
    ] = ""
    request_id_header: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9-]{1,64}$",
            description="Header that carries the request id, both ways.",
            examples=["X-Request-Id"],
        ),
    ] = "X-Request-Id"
    trusted_proxy_ips: Annotated[
        str,
        Meta(
            description="Networks whose X-Forwarded-For is believed, separated by commas.",
            examples=["10.0.0.0/8,127.0.0.1"],
        ),
    ] = ""
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
        int, Meta(ge=1, le=86_400, description="A request's body must have arrived within this.", examples=["30"])
    ] = 30
    server_idle_timeout_secs: Annotated[
        int, Meta(ge=1, le=86_400, description="An idle connection is closed after this.", examples=["75"])
    ] = 75
    gateway_drain_secs: Annotated[
        Seconds, Meta(description="Running requests may take this long after SIGTERM.", examples=["120"])
    ] = 120

    @property
    def public_url(self) -> str:
        """`APP_PUBLIC_URL` without a slash at its end, or the address listened on."""
        return self.app_public_url.rstrip("/") or f"http://{self.app_host}:{self.app_port}"


class AccountSettings(Struct, frozen=True):
    """Who may sign up, and how their tokens are signed."""

    jwt_secret: Annotated[
        str,
        Meta(
            description="Signs access tokens; at least 32 bytes, the same for all gateways.",
            examples=["$(openssl rand -hex 32)"],
        ),
    ] = ""
    jwt_issuer: Annotated[str, Meta(min_length=1, description="`iss` of access tokens.", examples=["deepersensor"])] = (
        "deepersensor"
    )
    jwt_access_ttl_secs: Annotated[
        int, Meta(ge=60, le=86_400, description="An access token is valid this long.", examples=["3600"])
    ] = 3600
    signup_mode: Annotated[
        Literal["open", "closed"], Meta(description="Whether anybody may sign up.", examples=["closed"])
    ] = "open"
    password_min_length: Annotated[
        int, Meta(ge=8, le=128, description="Shortest password in characters (NIST SP 800-63B-4).", examples=["15"])
    ] = 15


class GatewaySettings(Struct, frozen=True):
    """All that a gateway process is told from outside."""

    app: AppSettings
    server: ServerSettings
    accounts: AccountSettings
    redis: RedisSettings
    database: DatabaseSettings
    queue: QueueSettings
    limits: RateLimitSettings
    streams: StreamSettings


def read(environment: Mapping[str, str]) -> GatewaySettings:
    """Fill every group from `environment`.

    Raises:
        SettingsError: A value is wrong, or too weak for production.

    """
    app = load(AppSettings, environment)
    return GatewaySettings(
        app=app,
        server=_checked_networks(load(ServerSettings, environment)),
        accounts=_with_secret(load(AccountSettings, environment), production=app.app_env == "production"),
        redis=load(RedisSettings, environment),
        database=load(DatabaseSettings, environment),
        queue=load(QueueSettings, environment),
        limits=load(RateLimitSettings, environment),
        streams=load(StreamSettings, environment),
    )


def _checked_networks(server: ServerSettings) -> ServerSettings:
    for text in filter(None, map(str.strip, server.trusted_proxy_ips.split(","))):
        try:
            ip_network(text)
        except ValueError as error:
            raise SettingsError(
                f"TRUSTED_PROXY_IPS is wrong: {error}. Example: TRUSTED_PROXY_IPS=10.0.0.0/8,127.0.0.1"
            ) from None
    return server


def _with_secret(accounts: AccountSettings, *, production: bool) -> AccountSettings:
    size = len(accounts.jwt_secret.encode())
    if size >= JWT_SECRET_MIN_BYTES:
        return accounts
    if production or size:
        fault = f"has {size} bytes, needs at least {JWT_SECRET_MIN_BYTES}" if size else "is not set"
        raise SettingsError(f"JWT_SECRET {fault}. Example: JWT_SECRET=$(openssl rand -hex 32)")
    logger.warning("JWT_SECRET is not set: tokens are valid in this process only, until it ends")
    return structs.replace(accounts, jwt_secret=secrets.token_urlsafe(JWT_SECRET_MIN_BYTES))
