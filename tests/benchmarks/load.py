"""Runs the load generator, load.c, against a target."""

import asyncio
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.benchmarks.targets import Request, Target

_GRACE_S = 60
"""How long answers may be late before they count as unfinished."""


class Percentiles(Struct, frozen=True):
    """A distribution, in milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


class LoadReport(Struct, frozen=True):
    """What load.c prints: `sent` is the sum of the six outcomes that follow it."""

    seconds: float
    """What rates are per: the window given, or until the last complete answer."""
    cpu_seconds: float
    sent: int
    complete: int
    """Every token there, once, in order, and the end as it should be."""
    wrong: int
    """Ended well with a token missing, doubled or somebody else's."""
    failed: int
    """An error in place of the end."""
    refused: int
    """A status other than 200."""
    broken: int
    """The connection ended before the answer."""
    unfinished: int
    tokens: int
    tokens_on_time: int
    tokens_in_window: int
    complete_in_window: int
    reads: int
    bytes: int
    first_byte_ms: Percentiles | None
    first_token_ms: Percentiles | None
    reached_model_ms: Percentiles | None
    """From the request's start to the moment the model wrote the first token."""
    gap_ms: Percentiles | None
    age_ms: Percentiles | None
    """From the moment the model wrote a token to its arrival."""
    total_ms: Percentiles | None
    queue_ms: Percentiles | None
    """As our closing chunk tells it."""
    first_error: str


class Load(Struct, frozen=True, kw_only=True):
    """How many clients ask how often; exactly one of `requests` and `seconds` is given."""

    clients: int
    requests: int | None = None
    """Of each client, one after the other."""
    seconds: float | None = None
    """As long as new requests start, and rates are taken."""
    ramp_s: float = 0
    """The clients' first requests spread over this time."""
    pace: int = 0
    """Tokens per second that a stream should have; 0: nothing is said."""

    def limit_s(self, tokens: int) -> float:
        """Return when to stop waiting for answers of `tokens` tokens."""
        streaming_s = tokens / self.pace if self.pace else 0
        return self.ramp_s + (self.seconds or 0) + streaming_s + _GRACE_S


async def send_load(program: Path, target: Target, request: Request, load: Load) -> LoadReport:
    """Put `load` on `target` and return what came of it.

    Raises:
        RuntimeError: The load generator itself failed.

    """
    headers = () if target.token is None else ("-h", f"Authorization: Bearer {target.token}")
    amount = ("-n", load.requests) if load.requests else ("-s", load.seconds)
    pace = ("-e", load.pace) if load.pace else ()
    arguments = (
        *("-p", target.port, "-u", request.path, "-f", request.format, "-b", request.body, "-t", request.tokens),
        *("-c", load.clients, *amount, "-r", round(load.ramp_s * 1000), *pace, "-l", load.limit_s(request.tokens)),
        *headers,
    )
    process = await asyncio.create_subprocess_exec(
        program, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, complaints = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"load ended with code {process.returncode}: {complaints.decode().strip()}")
    return msgspec.json.decode(output, type=LoadReport)
