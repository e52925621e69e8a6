"""The gateway's settings: the server's own group, each feature's, and those shared by all roles."""

from collections.abc import Mapping

from msgspec import Struct

from gateway.accounts.settings import AccountSettings
from gateway.admission.settings import QueueSettings, RateLimitSettings
from gateway.metrics.settings import MetricsSettings
from gateway.server_settings import ServerSettings
from shared.database.engine import asyncpg_url
from shared.settings import (
    AppSettings,
    DatabaseSettings,
    RedisSettings,
    StreamSettings,
    load,
)


class GatewaySettings(Struct, frozen=True):
    """All that a gateway process is told from outside."""

    app: AppSettings
    server: ServerSettings
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
    database = load(DatabaseSettings, environment)
    asyncpg_url(database.database_url)
    accounts = load(AccountSettings, environment)
    accounts.check_secret(production=app.app_env == "production")
    return GatewaySettings(
        app=app,
        server=load(ServerSettings, environment).with_checked_networks(),
        accounts=accounts,
        redis=load(RedisSettings, environment),
        database=database,
        queue=load(QueueSettings, environment),
        limits=load(RateLimitSettings, environment),
        metrics=load(MetricsSettings, environment),
        streams=load(StreamSettings, environment),
    )
