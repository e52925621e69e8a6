"""The gateway's settings: the server's own group, each feature's, and those shared by all roles."""

from collections.abc import Mapping

from msgspec import Struct

from gateway.accounts.settings import AccountSettings
from gateway.admission.settings import QueueSettings, RateLimitSettings
from gateway.cross_origin import CrossOriginSettings
from gateway.metrics.settings import MetricsSettings
from gateway.server_settings import ServerSettings
from shared.database import engine
from shared.settings import (
    AppSettings,
    DatabaseSettings,
    RedisSettings,
    SettingsError,
    StreamSettings,
    load,
)

_EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104  compared with, not listened on  # nosec B104


class GatewaySettings(Struct, frozen=True):
    """All that a gateway process is told from outside."""

    app: AppSettings
    server: ServerSettings
    cross_origin: CrossOriginSettings
    accounts: AccountSettings
    redis: RedisSettings
    database: DatabaseSettings
    queue: QueueSettings
    limits: RateLimitSettings
    metrics: MetricsSettings
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
    server = load(ServerSettings, environment).checked()
    metrics = load(MetricsSettings, environment)
    _check_apart(server, metrics)
    accounts = load(AccountSettings, environment)
    accounts.check(production=app.app_env == "production")
    return GatewaySettings(
        app=app,
        server=server,
        cross_origin=load(CrossOriginSettings, environment).checked(),
        accounts=accounts,
        redis=load(RedisSettings, environment),
        database=engine.load_settings(environment),
        queue=load(QueueSettings, environment),
        limits=load(RateLimitSettings, environment),
        metrics=metrics,
        streams=load(StreamSettings, environment),
    )


def _check_apart(server: ServerSettings, metrics: MetricsSettings) -> None:
    host, port = metrics.own_address or ("", 0)
    if port == server.app_port and (host == server.app_host or _EVERY_ADDRESS & {host, server.app_host}):
        raise SettingsError(
            f"PROMETHEUS_BIND is wrong: APP_HOST and APP_PORT name port {port} too. "
            "Example: PROMETHEUS_BIND=127.0.0.1:9090"
        )
