from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute
from msgspec import structs

from gateway import settings
from gateway.app import create_routes
from gateway.draining import Draining
from gateway.metrics.declared import Metrics
from gateway.schema import describe_routes
from gateway.state import GatewayState
from tests.processes import ProcessStarter

SETTINGS = settings.read({"JWT_SECRET": "0123456789abcdef0123456789abcdef"})
APP = create_routes(SETTINGS, Metrics(), Draining())
DOCUMENT = describe_routes(APP, SETTINGS)
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def values_of(node: Any, name: str) -> Iterator[str]:  # noqa: ANN401  any JSON
    """Every value that stands under `name`, however deep."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        if key == name:
            yield child
        yield from values_of(child, name)


def find(pointer: str) -> object:
    node: Any = DOCUMENT
    for part in pointer.removeprefix("#/").split("/"):
        node = node[part]
    return node


def test_every_route_is_in_the_document() -> None:
    routes = {
        f"{method} {route.path_format}"
        for route in APP.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method not in ("OPTIONS", "HEAD")  # which Litestar answers with `Allow`, and which is GET without a body
    }
    assert set(OPERATIONS) == routes


def test_every_reference_leads_somewhere() -> None:
    references = set(values_of(DOCUMENT, "$ref"))
    assert references
    for reference in references:
        assert find(reference)


def test_every_operation_has_a_name_of_its_own_and_words_for_people() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(names) == len(set(names))
    for operation in OPERATIONS.values():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]


def test_no_handler_has_a_parameter_that_the_document_does_not_know() -> None:
    injected = {field.name for field in structs.fields(GatewayState)} | {"request", "scope"}
    for route in APP.routes:
        assert isinstance(route, HTTPRoute)
        for handler, _ in route.route_handler_map.values():
            unknown = handler.parsed_fn_signature.parameters.keys() - injected - route.path_parameters.keys()
            assert not unknown, f"{handler.handler_name} has {unknown}"


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_an_operation_tells_what_can_go_wrong(operation: dict[str, Any]) -> None:
    statuses = set(operation["responses"])
    assert "500" in statuses
    assert any(status.startswith("2") for status in statuses) or operation["summary"].startswith("Refuse")
    assert "requestBody" not in operation or statuses >= {"400", "408", "413", "415"}
    assert ("security" in operation) <= ("401" in statuses)
    for status, response in operation["responses"].items():
        assert "X-Request-Id" in response["headers"]
        assert ("content" in response) == (status != "204")
        assert ("Retry-After" in response["headers"]) == (status in {"429", "503"})


def test_bodies_are_described_as_they_are_checked() -> None:
    credentials = DOCUMENT["components"]["schemas"]["Credentials"]
    assert credentials["required"] == ["email", "password"]
    assert credentials["additionalProperties"] is False
    assert credentials["properties"]["password"]["maxLength"] == 256


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "/v1/auth/signup", b"{}", id="sign up with nothing"),
        pytest.param("POST", "/v1/auth/signup", b"{", id="sign up with half a body"),
        pytest.param("POST", "/v1/auth/login", b'{"email":"a@b","password":"c"}', id="log in as nobody"),
        pytest.param("POST", "/v1/auth/login", b" " * 5000, id="log in at length"),
        pytest.param("GET", "/v1/auth/me", b"", id="nobody asks who they are"),
        pytest.param("GET", "/v1/models", b"", id="list models"),
        pytest.param("GET", "/health", b"", id="health"),
        pytest.param("GET", "/health/ready", b"", id="readiness"),
        pytest.param("POST", "/v1/chat", b"{}", id="chat as nobody"),
    ],
)
async def test_answers_are_among_those_documented(
    client: httpx.AsyncClient, method: str, path: str, body: bytes
) -> None:
    response = await client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    documented = OPERATIONS[f"{method} {path}"]["responses"][str(response.status_code)]
    assert response.headers["Content-Type"] in documented["content"]
    assert {name.lower() for name in documented["headers"]} - {"ratelimit", "ratelimit-policy"} <= set(response.headers)
    if response.is_error:
        assert response.json()["error"]["code"] in next(values_of(documented, "enum"))


def test_a_stream_is_read_with_a_token_of_ones_own_or_with_a_link() -> None:
    assert OPERATIONS["GET /v1/chat/{job_id}/stream"]["security"] == [{"bearer": ["chat"]}, {"link": []}]
    assert OPERATIONS["GET /v1/chat/{job_id}"]["security"] == [{"bearer": ["chat"]}]
    assert OPERATIONS["POST /v1/api-keys"]["security"] == [{"bearer": ["session"]}]
    assert OPERATIONS["GET /v1/auth/me"]["security"] == [{"bearer": []}]
    assert OPERATIONS["GET /v1/models"]["security"] == [{}, {"bearer": []}]
    link = DOCUMENT["components"]["securitySchemes"]["link"]
    assert (link["type"], link["in"], link["name"]) == ("apiKey", "query", "token")


def test_the_length_of_a_page_is_told_with_its_range() -> None:
    (limit,) = (each for each in OPERATIONS["GET /v1/chat"]["parameters"] if each.get("name") == "limit")
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}


def test_what_becomes_of_a_deleted_job_is_told_by_status() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["StoppingJob"]["properties"]["status"]["enum"] == ["stopping"]
    assert "completed" in schemas["JobStatus"]["enum"]


def test_times_are_told_as_such() -> None:
    job = DOCUMENT["components"]["schemas"]["ChatJob"]["properties"]
    assert job["created_at"]["format"] == "date-time"
    assert {"type": "string", "format": "date-time"} in job["finished_at"]["anyOf"]


def test_every_route_can_want_https() -> None:
    settings_ = {
        "JWT_SECRET": "0" * 32,
        "FORCE_HTTPS": "true",
        "TRUSTED_PROXY_IPS": "10.0.0.0/8",
        "APP_PUBLIC_URL": "https://llm.example.org",
    }
    document = describe_routes(APP, settings.read(settings_))
    for methods in document["paths"].values():
        for operation in methods.values():
            assert "https_required" in operation["responses"]["403"]["description"]


async def test_the_document_is_served(client: httpx.AsyncClient) -> None:
    response = await client.get("/schema/openapi.json")
    assert response.json()["openapi"] == "3.1.0"
    assert response.json()["paths"].keys() == DOCUMENT["paths"].keys()


async def test_the_document_can_be_switched_off_and_knows_where_it_is(
    start_process: ProcessStarter, database_url: str, redis_url: str
) -> None:
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SCHEMA_ENABLED": "false"}
    gateway = await start_process("gateway", environment)
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        assert (await client.get("/schema/openapi.json")).status_code == 404
