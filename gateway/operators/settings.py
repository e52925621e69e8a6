"""What the operators' commands are told from outside: a part of what gateways are told, and best the very same."""

from collections.abc import Mapping

from msgspec import Struct

from gateway.accounts.settings import AccountSettings
from shared.database import engine
from shared.settings import AppSettings, DatabaseSettings, RedisSettings, load


class OperatorSettings(Struct, frozen=True):
    """The groups that the commands read."""

    app: AppSettings
    accounts: AccountSettings
    database: DatabaseSettings
    redis: RedisSettings


def read(environment: Mapping[str, str]) -> OperatorSettings:
    """Fill every group from `environment`.

    Raises:
        SettingsError: A value is wrong.

    """
    return OperatorSettings(
        app=load(AppSettings, environment),
        accounts=load(AccountSettings, environment),
        database=engine.load_settings(environment),
        redis=load(RedisSettings, environment),
    )
