"""Every event of the audit log is written by something that somebody really does."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import pytest

from shared.audit import LOGGER, SecurityEvent
from shared.ids import new_id
from tests.end_to_end.client import CANARY, HANG_S
from tests.end_to_end.stack import Stack
from tests.waiting import wait_until

Deed = Callable[[Stack, Mapping[str, str]], Awaitable[None]]
"""Has the event happen by requests that carry these headers."""


async def ask_for_what_is_forbidden(stack: Stack, headers: Mapping[str, str]) -> None:
    gateway = await stack.gateway(signup_mode="closed")
    credentials = {"email": "eve@example.org", "password": f"{CANARY} of eve, who may not"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=HANG_S) as http:
        assert (await http.post("/v1/auth/signup", json=credentials)).status_code == 403


async def make_a_key(stack: Stack, headers: Mapping[str, str]) -> None:
    made = await (await stack.client()).http.post("/v1/api-keys", json={"name": "ci"}, headers=dict(headers))
    assert made.status_code == 201


async def revoke_a_key(stack: Stack, headers: Mapping[str, str]) -> None:
    owner = await stack.client()
    program = await stack.program(owner)
    revoked = await owner.http.delete(f"/v1/api-keys/{program.account.id}", headers=dict(headers))
    assert revoked.status_code == 204


DEEDS: Mapping[SecurityEvent, Deed] = {
    SecurityEvent.KEY_CREATED: make_a_key,
    SecurityEvent.KEY_REVOKED: revoke_a_key,
    SecurityEvent.ACCESS_FORBIDDEN: ask_for_what_is_forbidden,
}

_AWAITED = {event for event in SecurityEvent if event not in DEEDS}  # their routes are being built


@pytest.mark.parametrize("event", [event for event in SecurityEvent if event not in _AWAITED])
async def test_an_event_is_recorded_with_what_finds_who_did_it(stack: Stack, event: SecurityEvent) -> None:
    request_id = new_id()
    await DEEDS[event](stack, {"X-Request-Id": request_id})

    def recorded() -> dict[str, Any] | None:
        lines = map(json.loads, stack.log_lines())
        mine = (line for line in lines if line["logger"] == LOGGER and line.get("request_id") == request_id)
        return next((line for line in mine if line["event"] == event), None)

    line = await wait_until(recorded, description=f"{event} is recorded")
    assert line is not None
    assert line["client_address"] == "127.0.0.1"
    assert line["outcome"] == ("refused" if event.is_refusal else "done")
    assert "example.org" not in json.dumps(line)
