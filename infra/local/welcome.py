"""What `./dev up` says when everything serves."""

import json
import shlex

from infra.local.backends import Backends
from infra.local.roles import gateway_address, gateway_ports
from infra.local.settings import StackSettings

OPENAI, OLLAMA = "/openai/v1", "/ollama"  # what clients of these protocols are to be told behind the address

_QUESTION = "Why is the sky blue?"


def text(settings: StackSettings, backends: Backends, token: str | None, model: str | None, took_s: float) -> str:
    """Return where everything is, a command to try it with, and how to stop.

    Args:
        settings: What was asked for.
        backends: What it stands on.
        token: An access token; None when the gateway gave none.
        model: A model that can be asked; None when there is none yet.
        took_s: How long it took to get here.

    """
    first, *others = (gateway_address(settings, port) for port in gateway_ports(settings))
    lines = [
        f"ready after {took_s:.1f} s",
        "",
        f"  address  {first}{f'  (all calls: {first}/schema/openapi.json)' if settings.schema_enabled else ''}",
        *(f"           {other}" for other in others),
        f"           {first}{OPENAI}  for OpenAI's clients, {first}{OLLAMA} for Ollama's",
        f"  models   {backends.models}",
        f"  state    {settings.state_dir}  (logs: {settings.state_dir}/logs)",
        "",
        *_invitation(first, token, model),
        "",
        "Another access token: ./dev token. Stop with Ctrl-C.",
    ]
    return "\n".join(lines)


def _invitation(address: str, token: str | None, model: str | None) -> list[str]:
    if model is None:
        return ["No model can be asked yet. Give Ollama one, for example: ollama pull llama3.2:3b"]
    return ["Paste this to see an answer stream in:", "", curl(address, token or "<access token>", model)]


def curl(address: str, token: str, model: str) -> str:
    """Return a command line that asks `model` a question and shows the events as they come."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": _QUESTION}]})
    headers = (f"Authorization: Bearer {token}", "Content-Type: application/json")
    words = ["curl", "-N", f"{address}/v1/chat/stream", *(word for header in headers for word in ("-H", header))]
    return shlex.join([*words, "-d", body])
