"""The row in which clients send what no client should: named cases, then whatever the OpenAPI document lets be made up.

Nothing may be answered with 500 or more, and nothing may go unanswered. What exactly each refusal says is tested
elsewhere, and so is that documented answers are the only ones.
"""

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
from msgspec import Struct

from shared.ids import new_id
from tests.faults.trial import Outcome, Trial

ANSWERED_WITHIN_S = 20.0  # a limit for hanging, not an expectation
_SCHEMATHESIS = (sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()")
# A valid request may ask for a job that has a millisecond: 504 is how the document says that such a job ends.
_CONFIGURATION = "[checks]\nnot_a_server_error.expected-statuses = ['2xx', '3xx', '4xx', 504]\n"
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
_OPERATIONS = 11  # about: an example of each takes so many requests
_AT_ONCE = 4
_JSON = {"Content-Type": "application/json"}
_LAST_LINES = 60

_POSTS = ("/v1/chat", "/v1/chat/stream", "/v1/auth/signup", "/v1/auth/login")
_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a NUL": b"\x00",
    "a word": b"canary",
    "a number": b"1e999",
    "a string": b'"canary"',
    "null": b"null",
    "an empty list": b"[]",
    "an empty object": b"{}",
    "half of an object": b'{"model": "',
    "two objects": b"{}{}",
    "a field twice": b'{"model": "a", "model": "b", "email": "a", "email": "b"}',
    "an unknown field": b'{"__proto__": {"admin": true}}',
    "lists in lists": b"[" * 100_000,
    "objects in objects": b'{"a":' * 100_000,
    "closed lists in lists": b"[" * 100_000 + b"]" * 100_000,
    "no UTF-8": b'{"model": "\xff\xfe", "email": "\xff"}',
    "UTF-16": '{"model": "x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"model": "x"}',
    "half of a surrogate pair": rb'{"model": "\ud83d", "email": "\ud83d@x.y", "password": "\ude00"}',
    "an escaped NUL": rb'{"model": "\u0000", "email": "\u0000@x.y", "password": "\u0000"}',
    "a number without end": b'{"model": ' + b"9" * 100_000 + b"}",
    "a megabyte of spaces": b" " * (1 << 20),
    "other types": b'{"model": [], "messages": {}, "email": 1, "password": true}',
    "null everywhere": b'{"model": null, "messages": null, "email": null, "password": null}',
    "right to left": '{"model": "\u202e", "messages": [], "email": "\u202e@x.y", "password": "\u202e"}'.encode(),
    "an injection": b'{"model": "\'; DROP TABLE users; --", "messages": [], "email": "\'--@x.y", "password": "\'"}',
    "a path": b'{"model": "../../../etc/passwd", "messages": [], "email": "../x@x.y", "password": "x"}',
    "a long string": b'{"model": "' + b"x" * 500_000 + b'"}',
}
_IDS: dict[str, str] = {
    "a word": "canary",
    "another version": "00000000-0000-4000-8000-000000000000",
    "upper case": "01A215A7-DE09-76AC-AB6E-38CF47CE6D47",
    "nobody's": "01a215a7-de09-76ac-ab6e-38cf47ce6d47",
    "braces": "{job_id}",
    "a NUL": "%00",
    "a newline": "%0a",
    "no UTF-8": "%ff%fe",
    "a path": "..%2f..%2fetc%2fpasswd",
    "a wildcard": "*",
    "a key of ours": "ds:job:*",
    "an injection": "'%20OR%201=1--",
    "a long one": "x" * 5_000,
    "emoji": "%F0%9F%98%80",
    "half a percent": "%",
}
_EVENT_IDS = ("x", "-1", "1.5", "0x1", "9" * 400, "1e3", "%00", "٣", " ", "1,2")
_HEADERS: dict[str, dict[str, str]] = {
    "another scheme": {"Authorization": "Basic YWRhOmFkYQ=="},
    "a scheme alone": {"Authorization": "Bearer"},
    "a token that is none": {"Authorization": "Bearer canary"},
    "a token of no algorithm": {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."},
    "a token of dots": {"Authorization": "Bearer " + "." * 3_000},
    "an API key that nobody has": {"Authorization": "Bearer sk-ds-0000000000000000"},
    "an id with spaces": {"X-Request-Id": "a b"},
    "a long id": {"X-Request-Id": "x" * 5_000},
    "a wrong traceparent": {"traceparent": "00-0-0-0"},
    "a forged address": {"X-Forwarded-For": "'; --, ::1, 999.999.999.999"},
    "another host": {"Host": "evil.example.org"},
    "a range": {"Range": "bytes=0-1,5-2,9-"},
    "an expectation": {"Expect": "200-maybe"},
    "an encoding": {"Content-Encoding": "gzip"},
    "a wish for nothing": {"Accept": "application/x-nothing"},
    "an upgrade": {"Connection": "Upgrade", "Upgrade": "websocket"},
    "another method": {"X-HTTP-Method-Override": "DELETE"},
    "a cookie": {"Cookie": "session=" + "x" * 5_000},
}


class Case(Struct, frozen=True):
    """A request that no client should send."""

    name: str
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = {}


def cases() -> Iterator[Case]:
    """Yield every named case."""
    for path in _POSTS:
        for name, body in _BODIES.items():
            yield Case(f"{name} to {path}", "POST", path, body, _JSON)
    for name, id_ in _IDS.items():
        yield Case(f"the stream of a job whose id is {name}", "GET", f"/v1/chat/{id_}/stream")
        yield Case(f"to stop a job whose id is {name}", "DELETE", f"/v1/chat/{id_}")
    for event_id in _EVENT_IDS:
        yield Case(f"a stream after {event_id[:8]!r}", "GET", f"/v1/chat/{new_id()}/stream?last_event_id={event_id}")
    for name, headers in _HEADERS.items():
        yield Case(f"{name} for who I am", "GET", "/v1/auth/me", headers=headers)
        yield Case(f"{name} with a chat", "POST", "/v1/chat", b"{}", _JSON | headers)


async def send_hostile_input(trial: Trial, requests: int) -> Outcome:
    """Send every named case, then so many requests that are made up from the OpenAPI document."""
    known_errors = len(trial.site.errors())
    trial.tell("named cases")
    violations = await _send_cases(trial)
    made_up = 0
    for streams in (False, True):
        trial.tell(f"{made_up:,} requests made up of {requests:,}")
        examples = max(1, requests // (_OPERATIONS if not streams else 2 * _OPERATIONS))
        count, complaints = await _fuzz(trial, examples, streams=streams)
        made_up += count
        violations += complaints
    violations += trial.site.errors()[known_errors:]
    return Outcome(f"{len(list(cases()))} named cases, {made_up:,} made up", violations)


async def _send_cases(trial: Trial) -> list[str]:
    door, token = trial.site.doors()[0], trial.site.tokens[0]
    left, found = cases(), list[str]()

    async def send_on(http: httpx.AsyncClient) -> None:
        for case in left:
            headers = {"Authorization": f"Bearer {token}"} | case.headers
            encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
            try:
                response = await http.request(case.method, case.path, content=case.body, headers=encoded)
            except httpx.TransportError as error:
                found.append(f"{case.name}: {error!r}")
            else:
                if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
                    found.append(f"{case.name}: {response.status_code} {response.text[:200]}")

    async with httpx.AsyncClient(base_url=door, timeout=ANSWERED_WITHIN_S, trust_env=False) as http:
        await asyncio.gather(*(send_on(http) for _ in range(_AT_ONCE)))
    return found


async def _fuzz(trial: Trial, examples: int, *, streams: bool) -> tuple[int, list[str]]:
    """Have schemathesis try the operations that stream, or the others; returns how often, and what it did not like.

    Events of a stream are no JSON that the document could describe, so there the schema of answers is not compared.
    """
    door, token = trial.site.doors()[0], trial.site.tokens[0]
    which = ("--include-path-regex", "/stream$") if streams else ("--exclude-path-regex", "/stream$")
    checks = _CHECKS if streams else (*_CHECKS, "response_schema_conformance")
    directory = Path(trial.directory).parent
    configuration = directory / "schemathesis.toml"
    configuration.write_text(_CONFIGURATION)
    process = await asyncio.create_subprocess_exec(
        *_SCHEMATHESIS,
        *("--config-file", configuration, "run"),
        f"{door}/schema/openapi.json",
        *("--url", door),
        *("--header", f"Authorization: Bearer {token}"),
        *("--max-examples", str(examples)),
        *("--request-timeout", str(ANSWERED_WITHIN_S)),
        *("--seed", str(trial.chance.getrandbits(32))),
        *("--checks", ",".join(checks)),
        *("--phases", "fuzzing"),
        *("--warnings", "off"),
        *("--suppress-health-check", "all"),
        *which,
        "--continue-on-failure",
        "--no-color",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace").replace(token, "…")
    counted = re.search(r"(\d+) generated", text)
    count = int(counted[1]) if counted else 0
    return count, [] if process.returncode == 0 else ["\n".join(text.splitlines()[-_LAST_LINES:])]
