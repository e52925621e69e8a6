"""The gateway's settings: the server's own group, each feature's, and those shared by all roles."""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Annotated

from msgspec import Meta, Struct

from gateway.accounts.settings import AccountSettings
from gateway.admission.settings import QueueSettings, RateLimitSettings
from shared.database.engine import asyncpg_url
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

    @property
    def migrates_on_start(self) -> bool:
        """`MIGRATE_ON_START`, or whether this is not production."""
        wanted = self.database.migrate_on_start
        return self.app.app_env != "production" if wanted is None else wanted


def read(environment: Mapping[str, str]) -> GatewaySettings:
    """Fill every group from `environment`.

    Raises:
        SettingsError: A value is wrong, or too weak for production.

    """
    app = load(AppSettings, environment)
    database = load(DatabaseSettings, environment)
    asyncpg_url(database.database_url)
    accounts = load(AccountSettings, environment)
    accounts.check_secret(production=app.app_env == "production")
    return GatewaySettings(
        app=app,
        server=_checked_networks(load(ServerSettings, environment)),
        accounts=accounts,
        redis=load(RedisSettings, environment),
        database=database,
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
