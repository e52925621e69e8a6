"""How long a login takes when two hundred people log in at once, and how late the gateway's event loop is meanwhile."""

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

import httpx
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks.markdown import aligned
from tests.benchmarks.ours import our_stack
from tests.benchmarks.scenarios import MeasurementError

_PEOPLE = 200
_OK = 200
_ONE_BY_ONE = 20
_PROBE_EVERY_S = 0.02
_PATIENCE_S = 120.0
_LAG = "deepersensor_event_loop_lag_seconds"
_SETTINGS = {  # everything as an operator has it, but for how much comes from one address
    "RATE_LIMIT_ENABLED": "true",
    "RATE_LIMIT_ADDRESS_REQUESTS_PER_MINUTE": "1000000",
    "RATE_LIMIT_AUTH_REQUESTS_PER_MINUTE": "1000000",
    "LOGIN_FAILURES_PER_ADDRESS": "1000",
}

Account = Mapping[str, str]


class Lag(Struct, frozen=True):
    """How late timers of the gateway were, since it started."""

    timers: float
    sum_s: float
    below_s: Mapping[float, float]  # how many were at most so late


class Round(Struct, frozen=True):
    """What was measured once; milliseconds."""

    alone_p50: float
    p50: float
    p99: float
    slowest: float
    per_s: float
    timers: float
    mean_lag: float
    most_lag: float  # the bound of the highest bucket that any was in
    health_p99: float


async def measure_logins(directory: Path, model_port: int, *, rounds: int) -> str:
    """Measure against a stack of our own, and return a table.

    Raises:
        StartFailedError: A part of the stack does not come to serve.
        MeasurementError: Somebody was not let in.

    """
    async with our_stack(directory / "logins", model_port=model_port, settings=_SETTINGS) as ours:
        limits = httpx.Limits(max_connections=_PEOPLE + 1, max_keepalive_connections=_PEOPLE + 1)
        address = f"http://127.0.0.1:{ours.port}"
        async with httpx.AsyncClient(base_url=address, limits=limits, timeout=_PATIENCE_S) as http:
            _say(f"{_PEOPLE} people sign up")
            accounts = [_account(number) for number in range(_PEOPLE)]
            for account in accounts:
                (await http.post("/v1/auth/signup", json=account)).raise_for_status()
            measured: list[Round] = []
            for number in range(1, rounds + 1):
                _say(f"logins, round {number} of {rounds}")
                measured.append(await _measure(http, accounts))
    return _table(measured)


async def _measure(http: httpx.AsyncClient, accounts: Sequence[Account]) -> Round:
    alone_ms = [await _log_in(http, account) for account in accounts[:_ONE_BY_ONE]]
    before = await _lag(http)
    began_s = time.monotonic()
    async with _probed(http) as health_ms:
        together_ms = await asyncio.gather(*(_log_in(http, account) for account in accounts))
    took_s = time.monotonic() - began_s
    after = await _lag(http)
    late = sorted(bound for bound, count in after.below_s.items() if count - before.below_s[bound] > 0)
    timers = after.timers - before.timers
    reached = next(bound for bound in late if after.below_s[bound] - before.below_s[bound] == timers)
    return Round(
        alone_p50=median(alone_ms),
        p50=median(together_ms),
        p99=_p99(together_ms),
        slowest=max(together_ms),
        per_s=len(accounts) / took_s,
        timers=timers,
        mean_lag=(after.sum_s - before.sum_s) / timers * 1000,
        most_lag=reached * 1000,
        health_p99=_p99(health_ms),
    )


async def _log_in(http: httpx.AsyncClient, account: Account) -> float:
    async def ask() -> None:
        answer = await http.post("/v1/auth/login", json=account)
        if answer.status_code != _OK or "refresh_token" not in answer.json():
            raise MeasurementError(f"a login was answered {answer.status_code}: {answer.text}")

    return await _timed(ask)


async def _timed(act: Callable[[], Awaitable[None]]) -> float:
    """Do something and return how many milliseconds it took."""
    began_s = time.monotonic()
    await act()
    return (time.monotonic() - began_s) * 1000


@asynccontextmanager
async def _probed(http: httpx.AsyncClient) -> AsyncGenerator[list[float]]:
    """Ask for something that costs nothing, again and again inside the block; gives how long that took."""
    took_ms: list[float] = []

    async def ask() -> None:
        (await http.get("/health")).raise_for_status()

    async def probe() -> None:
        while True:
            took_ms.append(await _timed(ask))
            await asyncio.sleep(_PROBE_EVERY_S)

    probing = asyncio.create_task(probe())
    try:
        yield took_ms
    finally:
        probing.cancel()


async def _lag(http: httpx.AsyncClient) -> Lag:
    text = (await http.get("/metrics", headers={"Accept": "text/plain"})).raise_for_status().text
    (family,) = (family for family in text_string_to_metric_families(text) if family.name == _LAG)
    totals = {sample.name.removeprefix(_LAG): sample.value for sample in family.samples if not sample.labels}
    below_s = {float(sample.labels["le"]): sample.value for sample in family.samples if "le" in sample.labels}
    return Lag(totals["_count"], totals["_sum"], below_s)


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]


def _table(rounds: Sequence[Round]) -> str:
    def told(name: str, form: str = ".0f") -> str:
        values = [float(getattr(one, name)) for one in rounds]
        return f"{median(values):{form}} [{min(values):{form}}..{max(values):{form}}]"

    return aligned(
        [
            ["logins", "median of the rounds, with least and most"],
            ["one after the other, p50 ms", told("alone_p50", ".1f")],
            [f"{_PEOPLE} at once, p50 ms", told("p50")],
            [f"{_PEOPLE} at once, p99 ms", told("p99")],
            [f"{_PEOPLE} at once, slowest ms", told("slowest")],
            ["logins per second", told("per_s", ".1f")],
            ["event-loop lag meanwhile, mean ms", told("mean_lag", ".2f")],
            ["event-loop lag meanwhile, all timers below ms", told("most_lag")],
            ["timers", told("timers")],
            ["GET /health meanwhile, p99 ms", told("health_p99", ".1f")],
        ]
    )


def _account(number: int) -> Account:
    return {"email": f"person-{number}@example.org", "password": secrets.token_urlsafe(24)}


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")
