"""The row in which clients send what no client should: by name, then whatever the OpenAPI document lets be made up.

Nothing may be answered with 500 or more, and nothing may go unanswered.
"""

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.faults.site import MODELS
from tests.faults.trial import Outcome, Trial
from tests.hostile_requests import HostileRequest, hostile_requests, routes

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
_SCHEMA_TOO = (*_CHECKS, "response_schema_conformance")
# Events of a stream are no JSON that the document could describe. Who is logged out is told nothing but 401.
_PARTS = (
    (("--exclude-path-regex", "/(stream|logout)$"), _SCHEMA_TOO),
    (("--include-path-regex", "/stream$"), _CHECKS),
    (("--include-path-regex", "/logout$"), _SCHEMA_TOO),
)
_AT_ONCE = 4
_LAST_LINES = 60


async def send_hostile_input(trial: Trial, requests: int) -> Outcome:
    """Send every named request, then so many requests that are made up from the OpenAPI document."""
    known_errors = len(trial.site.errors())
    trial.tell("named requests")
    named = hostile_requests(MODELS[0])
    token = await trial.site.sign_up()  # of somebody of its own: it may be logged out
    violations = await _send_named(trial, named, token)
    made_up, operations = 0, len(routes())
    for which, checks in _PARTS:
        trial.tell(f"{made_up:,} requests made up of {requests:,}")
        count, complaints = await _fuzz(trial, token, max(1, requests // operations), which, checks)
        made_up += count
        violations += complaints
    violations += trial.site.errors()[known_errors:]
    return Outcome(f"{len(named)} named requests, {made_up:,} made up", violations)


async def _send_named(trial: Trial, requests: Sequence[HostileRequest], token: str) -> list[str]:
    left, found = iter(requests), list[str]()

    async def send_on(http: httpx.AsyncClient) -> None:
        for request in left:
            try:
                faults = await request.send(http, token)
            except httpx.TransportError as error:
                faults = [repr(error)]
            found.extend(f"{request.name}: {fault}" for fault in faults)

    async with httpx.AsyncClient(base_url=trial.site.doors()[0], timeout=ANSWERED_WITHIN_S, trust_env=False) as http:
        await asyncio.gather(*(send_on(http) for _ in range(_AT_ONCE)))
    return found


async def _fuzz(
    trial: Trial, token: str, examples: int, which: tuple[str, str], checks: Sequence[str]
) -> tuple[int, list[str]]:
    """Have schemathesis try some of the operations; returns how often, and what it did not like."""
    door = trial.site.doors()[0]
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
