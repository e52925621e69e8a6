"""Nobody reads a secret where it does not belong. What the logs say is judged when the stack ends (stack.py)."""

import secrets
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from shared.ids import new_id
from tests.end_to_end.client import CANARY, HANG_S
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer

GUESSED = f"sk-ds-{CANARY}-{secrets.token_hex(16)}"
"""What a client sends that is none of its business, or a mistake: a password in the wrong field, another's token."""

# Not `model`: the name of one that is not there comes back, so that people see what they have mistyped.
FIELDS = ("email", "password", "current_password", "new_password", "refresh_token", "token", "messages")
BODIES: Mapping[str, bytes] = {
    "a secret in every field": b"{%s}" % b",".join(b'"%s":"%s"' % (name.encode(), GUESSED.encode()) for name in FIELDS),
    "a secret in what is no JSON": b'{"password":"%s' % GUESSED.encode(),
    "a secret in the wrong type": b'{"password":["%s"]}' % GUESSED.encode(),
}


@pytest.fixture
async def http(stack: Stack) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the first gateway who is nobody yet."""
    async with httpx.AsyncClient(base_url=stack.gateways[0].url, timeout=HANG_S, trust_env=False) as http:
        yield http


def logs_in(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text(errors="replace") for path in directory.glob("*.log")}


async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    return (await http.get("/schema/openapi.json")).json()


async def test_no_refusal_repeats_a_secret(stack: Stack, http: httpx.AsyncClient) -> None:
    """Whatever route it was sent to, wherever in the request it stood."""
    known = await stack.client()
    credentials = (GUESSED, known.account.token, f"{known.account.token[:-4]}AAAA")
    for path, methods in (await document(http))["paths"].items():
        place = path.replace("{job_id}", new_id()).replace("{id}", new_id()).replace("{model}", "ada:latest")
        for method in methods:
            for credential in credentials:
                for body in BODIES.values():
                    headers = {"Authorization": f"Bearer {credential}", "Content-Type": "application/json"}
                    answer = await http.request(
                        method, place, content=body, headers=headers, params={"token": GUESSED, "cursor": GUESSED}
                    )
                    said = f"{answer.headers} {answer.text}"
                    assert not [text for text in (GUESSED, *stack.secrets()) if text in said], (method, path, said)


async def test_neither_metrics_nor_documentation_show_one(stack: Stack, http: httpx.AsyncClient) -> None:
    client = await stack.client()
    assert (await client.chat(stack.model(Answer((CANARY,))))).is_success
    metrics = await http.get("/metrics", headers={"Authorization": f"Bearer {stack.metrics_token}"})
    assert "deepersensor_jobs_total" in metrics.text
    for text in (metrics.text, str(await document(http)), (await http.get("/health/ready")).text):
        assert not [secret for secret in (CANARY, *stack.secrets()) if secret in text]


async def test_no_process_of_this_machine_shows_one_on_its_command_line(stack: Stack) -> None:
    shown = "\n".join(" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    assert "-m gateway" in shown
    assert "valkey-server" in shown
    assert not [secret for secret in stack.secrets() if secret in shown]


async def test_the_servers_log_none(stack: Stack, server_directory: Path) -> None:
    """PostgreSQL logs statements that it refuses, Valkey who logs in wrongly."""
    with pytest.raises(Exception, match="syntax error"):
        await stack.execute("SELEKT 1")
    logs = logs_in(server_directory)
    assert "SELEKT 1" in logs["postgresql.log"]
    for text in logs.values():
        assert not [secret for secret in (CANARY, *stack.secrets()) if secret in text]
