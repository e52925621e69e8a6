import logging
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from litestar import Litestar, get
from litestar.datastructures import State

from gateway.error_responses import EXCEPTION_HANDLERS, status_of
from gateway.response_headers import ResponseHeaders
from shared.errors import DeeperSensorError, JobCancelledError, RateLimitedError, StoreUnavailableError, family

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"
SHAPE = {"code", "type", "message", "param", "request_id"}


@get("/bug", sync_to_thread=False)
def fail() -> None:
    raise RuntimeError("canary: nobody may see this")


@get("/nested", sync_to_thread=False)
def nest() -> None:
    raise RecursionError


@get("/later", sync_to_thread=False)
def refuse_for_now() -> None:
    raise StoreUnavailableError("Not now.", retry_after_s=1.2)


@get("/limited", sync_to_thread=False)
def limit() -> None:
    raise RateLimitedError("Slower.", retry_after_s=0.01, scope="user", per_minute=60, remaining=0, reset_s=9.1)


@get("/cancelled", sync_to_thread=False)
def cancel() -> None:
    raise JobCancelledError("Cancelled.")


@pytest.fixture
async def failing() -> AsyncGenerator[httpx.AsyncClient]:
    """Routes that go wrong, behind the gateway's own layers."""
    app = Litestar(
        [fail, nest, refuse_for_now, limit, cancel],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
        state=State(),
    )
    transport = httpx.ASGITransport(ResponseHeaders(app, request_id_header="X-Request-Id"))  # pyright: ignore[reportArgumentType]  Litestar's types are narrower
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def test_the_document_lists_every_code_as_it_is_answered() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| .+ \| .+ \|$", DOCUMENT.read_text(), re.MULTILINE)
    documented = {code: (int(status), kind) for code, status, kind in rows}
    assert documented == {code: (status_of(error), error.type) for code, error in family(DeeperSensorError).items()}


def test_no_two_errors_share_a_code() -> None:
    def classes(root: type[DeeperSensorError]) -> list[type[DeeperSensorError]]:
        return [root, *(below for child in root.__subclasses__() for below in classes(child))]

    assert len(classes(DeeperSensorError)) == len(family(DeeperSensorError))


async def test_a_bug_is_told_to_the_log_and_not_to_the_client(
    failing: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = await failing.get("/bug")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "canary" not in response.text
    assert "canary" in caplog.text


@pytest.mark.parametrize(
    ("path", "status", "code", "header"),
    [
        pytest.param("/later", 503, "store_unavailable", ("Retry-After", "2"), id="a wait is rounded up"),
        pytest.param("/limited", 429, "rate_limited", ("Retry-After", "1"), id="a wait is at least a second"),
        pytest.param("/cancelled", 499, "cancelled", ("Content-Type", "application/json"), id="a job cancelled"),
        pytest.param("/nested", 400, "malformed_body", ("Content-Type", "application/json"), id="absurd nesting"),
    ],
)
async def test_an_error_is_answered_with_its_status_code_and_headers(
    failing: httpx.AsyncClient, path: str, status: int, code: str, header: tuple[str, str]
) -> None:
    response = await failing.get(path, headers={"X-Request-Id": "mine"})
    assert response.status_code == status
    assert response.headers[header[0]] == header[1]
    error = response.json()["error"]
    assert set(error) == SHAPE
    assert (error["code"], error["request_id"]) == (code, "mine")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        pytest.param("GET", "/nowhere", 404, "not_found", id="unknown path"),
        pytest.param("GET", "/v1/chat/x/y/z", 404, "not_found", id="unknown path below a known one"),
        pytest.param("GET", "/schema", 404, "not_found", id="no page at /schema"),
        pytest.param("POST", "/health", 405, "method_not_allowed", id="known path, wrong method"),
        pytest.param("PROPFIND", "/health", 405, "method_not_allowed", id="a method nothing takes"),
        pytest.param("GET", "/v1/auth/me", 401, "unauthenticated", id="no credential"),
        pytest.param("GET", "/%00", 404, "not_found", id="NUL in the path"),
        pytest.param("GET", "/%FF%FE", 404, "not_found", id="a path that is not UTF-8"),
    ],
)
async def test_whatever_is_not_there_has_the_error_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == SHAPE
    assert error["code"] == code
    assert error["request_id"] == response.headers["X-Request-Id"]


async def test_a_wrong_method_is_told_the_right_ones(client: httpx.AsyncClient) -> None:
    response = await client.delete("/v1/auth/login")
    assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


async def test_a_wrong_host_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/health", headers={"Host": "a b"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"
