"""Where the operator wants HTTPS, what came without it is refused, whatever it is."""

from collections.abc import AsyncGenerator

import httpx
import pytest

from gateway.security_headers import SECURITY_HEADERS
from tests.databases import Databases
from tests.processes import ProcessStarter

BY_HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.1"}


@pytest.fixture(scope="module")
async def guarded(
    databases: Databases, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[httpx.AsyncClient]:
    """A client, whose proxy the gateway trusts, of a gateway that wants HTTPS."""
    async with databases.fresh() as database_url, ProcessStarter(tmp_path_factory.mktemp("gateway")) as start:
        environment = {
            "REDIS_URL": f"{redis_server.removesuffix('/0')}/1",
            "DATABASE_URL": database_url,
            "FORCE_HTTPS": "true",
            "TRUSTED_PROXY_IPS": "127.0.0.0/8",
            "APP_PUBLIC_URL": "https://llm.example.org",
        }
        gateway = await start("gateway", environment)
        async with httpx.AsyncClient(base_url=gateway.url) as client:
            yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("GET", "/v1/models", id="what anybody may ask"),
        pytest.param("POST", "/v1/chat", id="a chat"),
        pytest.param("GET", "/v1/chat/x/stream?token=x", id="a link"),
        pytest.param("GET", "/metrics", id="metrics"),
        pytest.param("GET", "/schema/openapi.json", id="the document"),
        pytest.param("GET", "/nowhere", id="nothing"),
        pytest.param("GET", "/health/../v1/models", id="a path that begins like a probe"),
        pytest.param("OPTIONS", "/v1/chat", id="a preflight"),
    ],
)
@pytest.mark.parametrize("said", [{}, {"X-Forwarded-Proto": "http"}, {"Forwarded": "proto=https"}], ids=str)
async def test_plain_http_is_refused_and_not_redirected(
    guarded: httpx.AsyncClient, method: str, path: str, said: dict[str, str]
) -> None:
    headers = {"Authorization": "Bearer sk-ds-0000000000000000", **said}

    response = await guarded.request(method, path, headers=headers)

    assert (response.status_code, response.json()["error"]["code"]) == (403, "https_required")
    assert response.json()["error"]["request_id"] == response.headers["X-Request-Id"]
    assert response.headers.items() >= {(name.decode(), value.decode()) for name, value in SECURITY_HEADERS}
    assert "Location" not in response.headers


async def test_what_a_trusted_proxy_got_by_https_is_answered(guarded: httpx.AsyncClient) -> None:
    assert (await guarded.get("/v1/models", headers=BY_HTTPS)).status_code == 200
    assert (await guarded.get("/v1/auth/me", headers=BY_HTTPS)).status_code == 401


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_probes_need_no_https(guarded: httpx.AsyncClient, path: str) -> None:
    assert (await guarded.get(path)).status_code == 200
