"""Every event of the audit log is written by something that somebody really does."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from shared.audit import LOGGER, SecurityEvent
from shared.ids import is_id, new_id
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


@asynccontextmanager
async def somebody(
    stack: Stack, headers: Mapping[str, str]
) -> AsyncGenerator[tuple[httpx.AsyncClient, dict[str, str]]]:
    """A client that sends these headers, and what its user logs in with."""
    credentials = {"email": f"{new_id()}@example.org", "password": f"{CANARY} of somebody"}
    async with httpx.AsyncClient(base_url=stack.gateways[0].url, headers=headers, timeout=HANG_S) as http:
        assert (await http.post("/v1/auth/signup", json=credentials)).status_code == 201
        yield http, credentials


async def log_in(http: httpx.AsyncClient, credentials: Mapping[str, str]) -> dict[str, str]:
    """Log in, and return the tokens."""
    answer = await http.post("/v1/auth/login", json=credentials)
    assert answer.status_code == 200
    http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return answer.json()


async def sign_up(stack: Stack, headers: Mapping[str, str]) -> None:
    async with somebody(stack, headers):
        pass


async def sign_up_and_log_in(stack: Stack, headers: Mapping[str, str]) -> None:
    async with somebody(stack, headers) as (http, credentials):
        await log_in(http, credentials)


async def guess(stack: Stack, headers: Mapping[str, str]) -> None:
    async with somebody(stack, headers) as (http, credentials):
        for status in (401, 401, 401, 401, 401, 429):
            wrong = {**credentials, "password": f"{CANARY} of somebody else"}
            assert (await http.post("/v1/auth/login", json=wrong)).status_code == status


async def use_a_spent_token(stack: Stack, headers: Mapping[str, str]) -> None:
    async with somebody(stack, headers) as (http, credentials):
        first = await log_in(http, credentials)
        second = (await http.post("/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})).json()
        assert (await http.post("/v1/auth/refresh", json={"refresh_token": second["refresh_token"]})).is_success
        again = await http.post("/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})
        assert again.status_code == 401


async def log_out(stack: Stack, headers: Mapping[str, str]) -> None:
    async with somebody(stack, headers) as (http, credentials):
        await log_in(http, credentials)
        assert (await http.post("/v1/auth/logout")).status_code == 204


async def change_the_password(stack: Stack, headers: Mapping[str, str]) -> None:
    async with somebody(stack, headers) as (http, credentials):
        await log_in(http, credentials)
        change = {"current_password": credentials["password"], "new_password": f"{CANARY} of somebody, renewed"}
        assert (await http.post("/v1/auth/password", json=change)).status_code == 204


async def delete_the_account(stack: Stack, headers: Mapping[str, str]) -> None:
    async with somebody(stack, headers) as (http, credentials):
        await log_in(http, credentials)
        answer = await http.request("DELETE", "/v1/auth/me", json={"password": credentials["password"]})
        assert answer.status_code == 204


DEEDS: Mapping[SecurityEvent, Deed] = {
    SecurityEvent.KEY_CREATED: make_a_key,
    SecurityEvent.KEY_REVOKED: revoke_a_key,
    SecurityEvent.ACCESS_FORBIDDEN: ask_for_what_is_forbidden,
    SecurityEvent.SIGNED_UP: sign_up,
    SecurityEvent.LOGIN_SUCCEEDED: sign_up_and_log_in,
    SecurityEvent.LOGIN_FAILED: guess,
    SecurityEvent.LOGIN_LOCKED: guess,
    SecurityEvent.REFRESH_REUSED: use_a_spent_token,
    SecurityEvent.LOGGED_OUT: log_out,
    SecurityEvent.PASSWORD_CHANGED: change_the_password,
    SecurityEvent.USER_DELETED: delete_the_account,
}

COMMANDS: Mapping[SecurityEvent, str] = {
    SecurityEvent.USER_CREATED: "users create new-{who}",
    SecurityEvent.USER_DISABLED: "users disable {who}",
    SecurityEvent.USER_ENABLED: "users enable {who}",
    SecurityEvent.PASSWORD_CHANGED: "users set-password {who}",
    SecurityEvent.USER_DELETED: "users delete {who} --yes",
    SecurityEvent.KEY_CREATED: "keys create {who} ci",
}
"""What operators do from a shell."""


def test_every_event_is_somebodys_deed() -> None:
    assert DEEDS.keys() | COMMANDS.keys() == set(SecurityEvent)


@pytest.mark.parametrize("event", COMMANDS)
async def test_what_an_operator_does_is_recorded_with_their_name(stack: Stack, event: SecurityEvent) -> None:
    ada = await stack.newcomer()
    password = f"{CANARY} of an operator's choice"
    done = await stack.operate(*COMMANDS[event].format(who=ada.account.email).split(), stdin=password)
    [line] = map(json.loads, done.stderr.splitlines())
    assert (line["logger"], line["event"], line["outcome"]) == (LOGGER, event, "done")
    assert line["operator"]
    assert is_id(line["user_id"])
    assert not any(text in done.stderr for text in (password, ada.account.email, *stack.secrets()))


async def test_looking_leaves_no_trace(stack: Stack) -> None:
    assert (await stack.operate("users", "list")).stderr == ""


@pytest.mark.parametrize("event", DEEDS)
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
