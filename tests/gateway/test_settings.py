import re

import pytest

from gateway import settings
from shared.settings import SettingsError

STRONG = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("environment", "fault"),
    [
        pytest.param({"APP_ENV": "production"}, "JWT_SECRET is not set", id="production without a secret"),
        pytest.param(
            {"APP_ENV": "production", "JWT_SECRET": STRONG[:31]}, "JWT_SECRET has 31 bytes", id="a byte short"
        ),
        pytest.param(
            {"JWT_ACCESS_TTL_SECS": "3600", "JWT_REFRESH_TTL_SECS": "3599"},
            "JWT_REFRESH_TTL_SECS is wrong: expected at least JWT_ACCESS_TTL_SECS, 3600",
            id="sessions that end before their access tokens",
        ),
        pytest.param({"JWT_SECRET": "weak"}, "JWT_SECRET has 4 bytes", id="a weak secret in development"),
        pytest.param(
            {"APP_ENV": "production", "JWT_SECRET": STRONG, "JWT_SECRET_PREVIOUS": STRONG[:31]},
            "JWT_SECRET_PREVIOUS has 31 bytes",
            id="a previous secret that is a byte short",
        ),
        pytest.param(
            {"APP_ENV": "production", "JWT_SECRET_PREVIOUS": STRONG},
            "JWT_SECRET is not set",
            id="a previous secret alone",
        ),
        pytest.param({"TRUSTED_PROXY_IPS": "10.0.0.0/8,nginx"}, "TRUSTED_PROXY_IPS is wrong", id="a host name"),
        pytest.param({"TRUSTED_PROXY_IPS": "10.0.0.1/8"}, "TRUSTED_PROXY_IPS is wrong", id="host bits in a network"),
        pytest.param({"APP_PORT": "http"}, "APP_PORT is wrong", id="a port that is no number"),
        pytest.param(
            {"RATE_LIMIT_BURST": "0"},
            "RATE_LIMIT_BURST is wrong: expected a whole number from 1",
            id="a burst of nothing",
        ),
        pytest.param({"APP_PORT": "65536"}, "APP_PORT is wrong", id="a port too high"),
        pytest.param({"APP_PUBLIC_URL": "llm.example.org"}, "APP_PUBLIC_URL is wrong", id="a URL without scheme"),
        pytest.param({"SIGNUP_MODE": "invite"}, "SIGNUP_MODE is wrong", id="an unknown mode"),
        pytest.param({"DATABASE_URL": "mysql://localhost/x"}, "DATABASE_URL is wrong", id="another database"),
        pytest.param({"DATABASE_URL": "postgres://h:port/x"}, "DATABASE_URL is wrong", id="a URL that is none"),
        pytest.param({"DATABASE_URL": "postgres://h/x?a=1"}, "parameter `a`", id="an unknown parameter"),
        pytest.param({"DATABASE_URL": "postgres://h:99999/x"}, "DATABASE_URL is wrong", id="a database port too high"),
        pytest.param({"REDIS_URL": "redis://h:bad/0"}, "REDIS_URL is wrong: its port", id="a Redis port in letters"),
        pytest.param({"REDIS_URL": "redis://h/abc"}, "REDIS_URL is wrong: expected the number", id="a database's name"),
        pytest.param({"REDIS_URL": "redis:///0"}, "REDIS_URL is wrong: it names no host", id="a Redis without a host"),
        pytest.param({"REDIS_URL": "http://h/0"}, "REDIS_URL is wrong: expected a URL", id="no Redis at all"),
        pytest.param(
            {"PROMETHEUS_BIND": "127.0.0.1:8000"}, "PROMETHEUS_BIND is wrong: APP_HOST", id="metrics on the API's port"
        ),
        pytest.param(
            {"LOG_LEVEL": "info"}, "LOG_LEVEL is wrong: expected one of DEBUG, INFO", id="a level in small letters"
        ),
        pytest.param({"ALLOWED_ORIGINS": "app.example.org"}, "ALLOWED_ORIGINS is wrong", id="an origin without scheme"),
        pytest.param({"ALLOWED_ORIGINS": "null"}, "ALLOWED_ORIGINS is wrong", id="an origin of nobody"),
        pytest.param({"ALLOWED_ORIGINS": "https://*.example.org"}, "ALLOWED_ORIGINS is wrong", id="half a wildcard"),
        pytest.param({"ALLOWED_ORIGINS": "*, https://a.example"}, "ALLOWED_ORIGINS is wrong", id="all, and one more"),
        pytest.param(
            {"ALLOWED_ORIGINS": "https://a.example/x"}, "ALLOWED_ORIGINS is wrong", id="an origin with a path"
        ),
        pytest.param(
            {"ALLOWED_ORIGINS": "*", "CORS_ALLOW_CREDENTIALS": "true"},
            "ALLOWED_ORIGINS=* goes not with",
            id="credentials from everywhere",
        ),
        pytest.param(
            {"CORS_ALLOW_HEADERS": "*", "CORS_ALLOW_CREDENTIALS": "true"},
            "CORS_ALLOW_HEADERS=* goes not with",
            id="credentials with every header",
        ),
        pytest.param({"CORS_ALLOW_METHODS": "GET POST"}, "CORS_ALLOW_METHODS is wrong", id="methods without a comma"),
        pytest.param({"CORS_EXPOSE_HEADERS": "a\r\nb: c"}, "CORS_EXPOSE_HEADERS is wrong", id="a header in a header"),
        pytest.param({"CORS_EXPOSE_HEADERS": "a\n"}, "CORS_EXPOSE_HEADERS is wrong", id="a line end after a header"),
        pytest.param({"FORCE_HTTPS": "true"}, "FORCE_HTTPS=true needs TRUSTED_PROXY_IPS", id="HTTPS without a proxy"),
        pytest.param(
            {"FORCE_HTTPS": "true", "TRUSTED_PROXY_IPS": "10.0.0.0/8", "APP_PUBLIC_URL": "http://a.example"},
            "FORCE_HTTPS=true needs an APP_PUBLIC_URL",
            id="HTTPS with links that are none",
        ),
        pytest.param({"REQUEST_ID_HEADER": "X Request"}, "REQUEST_ID_HEADER is wrong", id="a header with a space"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_with_an_example(environment: dict[str, str], fault: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.read(environment)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)
    variable = re.match(r"[A-Z_]{2,}", fault)
    assert f"{variable[0] if variable else 'DATABASE_URL'}=" in str(caught.value)


def test_32_bytes_are_a_strong_secret() -> None:
    assert settings.read({"APP_ENV": "production", "JWT_SECRET": STRONG}).accounts.jwt_secret == STRONG


@pytest.mark.parametrize(
    ("environment", "migrates"),
    [
        pytest.param({}, True, id="development"),
        pytest.param({"APP_ENV": "production", "JWT_SECRET": STRONG}, False, id="production"),
        pytest.param(
            {"APP_ENV": "production", "JWT_SECRET": STRONG, "MIGRATE_ON_START": "true"}, True, id="production, asked"
        ),
        pytest.param({"MIGRATE_ON_START": "false"}, False, id="development, declined"),
    ],
)
def test_the_schema_is_migrated_at_start_outside_production(environment: dict[str, str], migrates: bool) -> None:  # noqa: FBT001
    assert settings.read(environment).migrates_on_start is migrates


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        pytest.param({"APP_PORT": "9000"}, "http://127.0.0.1:9000", id="where it listens"),
        pytest.param({"APP_PUBLIC_URL": "https://llm.example.org/api/"}, "https://llm.example.org/api", id="as told"),
    ],
)
def test_the_public_url_has_no_slash_at_its_end(environment: dict[str, str], url: str) -> None:
    assert settings.read(environment).server.public_url == url


@pytest.mark.parametrize(
    ("host", "public_url"),
    [
        ("localhost", "http://localhost:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104  the setting's value
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
    ],
)
def test_links_lead_to_an_address_that_can_be_connected_to(host: str, public_url: str) -> None:
    assert settings.read({"APP_HOST": host}).server.public_url == public_url
