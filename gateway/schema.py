"""Writes the OpenAPI 3.1 document from the routes themselves, and serves it.

Litestar's own generator cannot say what is wanted here: bodies that handlers read themselves, which fields are refused,
which error codes stand behind a status, and headers. msgspec writes the schemas, so they are what is enforced.
"""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import groupby
from types import NoneType
from typing import Any, NamedTuple

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from gateway.access import Access, access_of
from gateway.admission.limited_routes import LimitAttempts, LimitByAddress, LimitByUser, LimitStreams
from gateway.chat import stream_links
from gateway.chat.reader_access import RequireReader
from gateway.dependencies import Injected
from gateway.error_dialects import Dialect, OllamaErrorBody, dialect_of
from gateway.error_responses import status_of
from gateway.operation import JSON, Answer, Operation, Parameter
from gateway.principal import RecognizePrincipal, RequirePrincipal
from gateway.request_target import STRICT_BELOW
from gateway.settings import GatewaySettings
from shared import errors
from shared.errors import DeeperSensorError
from shared.events import ErrorBody

API_VERSION = "1"  # as in /v1

Refs = Mapping[Any, dict[str, Any]]

_ERRORS_OF_BODY = (
    errors.MalformedBodyError,
    errors.RequestTimeoutError,
    errors.BodyTooLargeError,
    errors.UnsupportedMediaTypeError,
    errors.InvalidRequestError,
)
_ERRORS_OF_LIMITS = (errors.RateLimitedError, errors.StoreUnavailableError)
_AUTHENTICATING = frozenset({RequirePrincipal, RequireReader})
_LIMITED = frozenset({LimitAttempts, LimitByAddress, LimitByUser, LimitStreams})
_LIMITING = _AUTHENTICATING | _LIMITED
_LIMIT_HEADERS = ("RateLimit-Policy", "RateLimit")
_OPENAI_LIMIT_HEADERS = tuple(
    f"x-ratelimit-{figure}-{unit}" for unit in ("requests", "tokens") for figure in ("limit", "remaining", "reset")
)
_ERROR_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After", *_LIMIT_HEADERS), 503: ("Retry-After",)}
_HEADERS = {
    "Idempotent-Replayed": "`true`: the job is that of an earlier request with the same `Idempotency-Key`.",
    "Content-Disposition": "A name for the file.",
    "Location": "Where to find it.",
    "Preference-Applied": "`respond-async`.",
    "RateLimit-Policy": "The limits that the request spent from (draft-ietf-httpapi-ratelimit-headers).",
    "RateLimit": "What is left of them, and the seconds until they are whole again.",
    "Retry-After": "Seconds after which another try can succeed.",
    "WWW-Authenticate": "`Bearer`.",
    "X-Job-Id": "The job that the request has become.",
    "X-Should-Retry": "`false`: trying again is in vain.",
    **dict.fromkeys(_OPENAI_LIMIT_HEADERS, "The limit of which least is left, as OpenAI tells it."),
}
_SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token, which may do all that its user may, or an API key with the scope named.",
    },
    "link": {
        "type": "apiKey",
        "in": "query",
        "name": stream_links.PARAMETER,
        "description": "The permission in a `stream_url`; an Authorization header comes first.",
    },
}
_REQUEST_ID = "The id of the request: the client's own if it sent one, else a new one. It is in every log line."
_DOCUMENT = "openapi_document"


class _Route(NamedTuple):
    path: str
    method: str
    handler: HTTPRouteHandler
    operation: Operation
    middleware: frozenset[Any]
    errors_of_all: frozenset[type[DeeperSensorError]]  # of every route


def describe_routes(app: Litestar, settings: GatewaySettings) -> dict[str, Any]:
    """Return the OpenAPI document of every route that is not hidden."""
    by_http = {errors.HttpsRequiredError} if settings.server.force_https else set[type[DeeperSensorError]]()
    routes = list(_visible_routes(app, frozenset({DeeperSensorError} | by_http)))
    refs, schemas = _schemas(routes)
    request_id = settings.server.request_id_header
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs, request_id)
    return {
        "openapi": "3.1.0",
        "info": {"title": settings.app.app_name, "version": API_VERSION},
        "servers": [{"url": settings.server.app_public_url.rstrip("/") or "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": {name: _header(text) for name, text in {**_HEADERS, request_id: _REQUEST_ID}.items()},
            "parameters": {request_id: _request_id_parameter(request_id)},
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _visible_routes(app: Litestar, errors_of_all: frozenset[type[DeeperSensorError]]) -> Iterator[_Route]:
    for route in sorted(app.routes, key=lambda route: route.path_format):
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in sorted(route.route_handler_map.items()):
                # A HEAD is the GET beside it, without a body.
                if handler.resolve_include_in_schema() and method != HttpMethod.HEAD:
                    operation = handler.opt.get("operation", Operation())
                    middleware = frozenset(handler.resolve_middleware())
                    yield _Route(route.path_format, method, handler, operation, middleware, errors_of_all)


def _schemas(routes: Sequence[_Route]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """Return what to write for each type, and the components that this refers to."""
    answers = [answer.kind for route in routes for answer in _answers(route).values()]
    kinds = list(
        dict.fromkeys([*answers, *(route.operation.body for route in routes), ErrorBody, OllamaErrorBody, None])
    )
    written, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return dict(zip(kinds, written, strict=True)), components


def _operation(route: _Route, refs: Refs, request_id: str) -> dict[str, Any]:
    handler, body = route.handler, route.operation.body
    return {
        "operationId": handler.handler_name,
        "summary": handler.summary,
        "description": handler.fn.__doc__,
        "tags": handler.resolve_tags(),
        "parameters": [
            {"$ref": f"#/components/parameters/{request_id}"},
            *_path_parameters(route),
            *map(_parameter, route.operation.parameters),
        ],
        "responses": _responses(route, refs, request_id),
        **_security(route),
        **({"requestBody": {"required": True, "content": {JSON: {"schema": refs[body]}}}} if body else {}),
    }


def _security(route: _Route) -> dict[str, Any]:
    """Return which of the schemes lets a caller in; any one of them does."""
    if RecognizePrincipal in route.middleware:
        return {"security": [{}, {"bearer": []}]}
    if route.middleware.isdisjoint(_AUTHENTICATING):
        return {}
    access = access_of(route.handler)
    scopes = [] if access is Access.ANY_CREDENTIAL else [access.value]
    by_link = [{"link": []}] if RequireReader in route.middleware else []
    return {"security": [{"bearer": scopes}, *by_link]}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": parameter.number
        or {"type": "string", **({"pattern": parameter.pattern} if parameter.pattern else {})},
    }


def _path_parameters(route: _Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": msgspec.json.schema(field.annotation)}
        for name, field in route.handler.parsed_fn_signature.parameters.items()
        if f"{{{name}}}" in route.path
    ]


def _responses(route: _Route, refs: Refs, request_id: str) -> dict[str, Any]:
    dialect = dialect_of(route.path)
    is_limited = route.operation.is_limited or not route.middleware.isdisjoint(_LIMITED)
    limits = (*_LIMIT_HEADERS, *(_OPENAI_LIMIT_HEADERS if dialect.has_openai_limits else ()))
    always = [request_id, *(limits if is_limited else ())]

    def status_here(error: type[DeeperSensorError]) -> int:
        return dialect.status(status_of(error))

    errors_by_status = {
        str(status): _error_response(list(group), refs, [request_id, *_error_headers(status, dialect)], dialect)
        for status, group in groupby(sorted(_errors(route), key=status_here), key=status_here)
    }
    answers = {
        str(status): _response(answer, refs, [*always, *answer.headers]) for status, answer in _answers(route).items()
    }
    return dict(sorted((errors_by_status | answers).items()))


def _error_headers(status: int, dialect: Dialect) -> list[str]:
    headers = [*_ERROR_HEADERS.get(status, ())]
    if dialect.has_openai_limits and status == HTTPStatus.TOO_MANY_REQUESTS:
        headers += _OPENAI_LIMIT_HEADERS
    if dialect.says_whether_to_retry and status >= HTTPStatus.TOO_MANY_REQUESTS:
        headers.append("X-Should-Retry")
    return headers


def _answers(route: _Route) -> Mapping[int, Answer]:
    if route.operation.answers is not None:
        return route.operation.answers
    status, kind = route.handler.status_code, route.handler.parsed_fn_signature.return_type.annotation
    return {status: Answer(HTTPStatus(status).phrase, None if kind is NoneType else kind)}


def _errors(route: _Route) -> set[type[DeeperSensorError]]:
    found = {*route.errors_of_all, *route.operation.errors}
    if route.path.startswith(STRICT_BELOW):
        found.add(errors.InvalidRequestError)
    if route.operation.body is not None:
        found.update(_ERRORS_OF_BODY)
    if route.operation.is_limited or not route.middleware.isdisjoint(_LIMITING):
        found.update(_ERRORS_OF_LIMITS)
    if route.operation.is_limited or LimitStreams in route.middleware:
        found.add(errors.ConcurrencyLimitedError)
    if not route.middleware.isdisjoint(_AUTHENTICATING | {RecognizePrincipal}):
        found.add(errors.UnauthenticatedError)
    if access_of(route.handler) not in {Access.PUBLIC, Access.OPERATOR, Access.ANY_CREDENTIAL}:
        found.add(errors.InsufficientScopeError)
    return found


def _response(answer: Answer, refs: Refs, headers: Sequence[str]) -> dict[str, Any]:
    content = {} if answer.kind is None else {answer.media_type: {"schema": refs[answer.kind]}}
    if answer.streams is not None:
        content[answer.streams] = {"schema": {"type": "string"}}
    described = {"description": answer.description, "headers": _header_refs(headers)}
    return {**described, "content": content} if content else described


def _error_response(
    group: Sequence[type[DeeperSensorError]], refs: Refs, headers: Sequence[str], dialect: Dialect
) -> dict[str, Any]:
    codes = {error.code: str(error.__doc__).partition("\n")[0] for error in sorted(group, key=lambda error: error.code)}
    schema: dict[str, Any] = refs[dialect.kind]
    if dialect.kind is ErrorBody:
        schema = {"allOf": [schema, {"properties": {"error": {"properties": {"code": {"enum": list(codes)}}}}}]}
    return {
        "description": " ".join(f"`{code}`: {meaning}" for code, meaning in codes.items()),
        "headers": _header_refs(headers),
        "content": {JSON: {"schema": schema}},
    }


def _header_refs(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _request_id_parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "description": "The client's own id for the request.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    }


@get(
    "/openapi.json",
    summary="Show this document",
    access=Access.PUBLIC,
    operation=Operation(answers={HTTPStatus.OK: Answer("The OpenAPI document.", dict[str, Any])}),
)
async def show_schema(request: Request[Any, Any, Any], settings: Injected[GatewaySettings]) -> Response[bytes]:
    """Return what this gateway understands and answers, as OpenAPI 3.1."""
    state = request.app.state
    if _DOCUMENT not in state:  # written at the first request: it would cost every start 20 ms
        state[_DOCUMENT] = msgspec.json.encode(describe_routes(request.app, settings))
    return Response(state[_DOCUMENT], media_type=JSON)


schema_routes = Router("/schema", route_handlers=[show_schema], tags=["operators"])
