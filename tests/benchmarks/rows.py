"""The rows of the table: which scenario gives their figures, what they should be, and what others reach.

The figures of Portkey and LiteLLM, and those of direct and nginx beside them, are from one machine at one time: the
gateway on one core, load and model on the other. They are quoted, not measured again; see docs/benchmarks.md.
"""

from msgspec import Struct

from tests.benchmarks import scenarios
from tests.benchmarks.scenarios import Scenario


class Figure(Struct, frozen=True, kw_only=True):
    """One number of a row."""

    name: str
    """What the scenario calls it."""
    first: float | None = None
    """What the first version should reach; None: the figure is only told."""
    goal: float | None = None
    """What we want in the end."""
    more_is_better: bool = False
    form: str = ".1f"
    """How it is printed."""

    def reaches(self, value: float, bound: float | None) -> bool:
        """Tell whether `value` is as good as `bound` or better."""
        if bound is None:
            return True
        return value >= bound if self.more_is_better else value <= bound

    def distance(self, value: float) -> float:
        """Return how many times `first` is better than `value`."""
        if self.first is None:
            return 0
        return self.first / max(value, 1e-9) if self.more_is_better else value / self.first


class Row(Struct, frozen=True, kw_only=True):
    """One line of the table."""

    title: str
    scenario: str
    figures: tuple[Figure, ...]
    direct: str = "-"
    nginx: str = "-"
    portkey: str = "-"
    litellm: str = "-"


SCENARIOS: dict[str, Scenario] = {
    "first-token": scenarios.first_token,
    "requests": scenarios.requests,
    "unpaced": scenarios.unpaced,
    "streams-200": scenarios.streams_200,
    "streams-500": scenarios.streams_500,
    "start": scenarios.start_up,
    "pickup": scenarios.pickup,
}
"""By the name that `--only` takes, in the order of the table."""

ROWS = (
    Row(
        title="added time to first token, 1 client, p50 / p99 ms",
        scenario="first-token",
        figures=(
            Figure(name="p50_ms", first=2.5, goal=1, form=".2f"),
            Figure(name="p99_ms", first=6, goal=3, form=".2f"),
        ),
        direct="0.02 / 0.03",
        nginx="0.12 / 0.19",
        portkey="28 / 37",
        litellm="13.8 / 18 to 58",
    ),
    Row(
        title="non-stream requests/s, 16 clients",
        scenario="requests",
        figures=(Figure(name="per_s", first=1_500, goal=3_000, more_is_better=True, form=",.0f"),),
        direct="49,500",
        nginx="33,500",
        portkey="558",
        litellm="104",
    ),
    Row(
        title="64 streams, unpaced, tokens/s (tokens per read)",
        scenario="unpaced",
        figures=(
            Figure(name="tokens_per_s", first=40_000, goal=60_000, more_is_better=True, form=",.0f"),
            Figure(name="tokens_per_read"),
        ),
        direct="71,000",
        nginx="48,500",
        portkey="50,000 (49)",
        litellm="1,326",
    ),
    Row(
        title="200 streams x 50 tokens/s, gap p99 / first token p99 ms",
        scenario="streams-200",
        figures=(Figure(name="gap_p99_ms", first=22, goal=21), Figure(name="first_token_p99_ms", first=15, goal=8)),
        direct="20.4 / 1.3",
        nginx="20.6 / 1.9",
        portkey="82 / 457",
        litellm="461 / 15,358",
    ),
    Row(
        title="500 streams x 50 tokens/s, gap p99 ms / delivered %",
        scenario="streams-500",
        figures=(
            Figure(name="gap_p99_ms", first=45, goal=25),
            Figure(name="delivered_percent", first=100, goal=100, more_is_better=True),
        ),
        direct="20.5 / 100",
        nginx="20.8 / 100",
        portkey="125 / 57",
        litellm="405 / 6",
    ),
    Row(
        title="processor time per token at 500 streams, all processes, µs",
        scenario="streams-500",
        figures=(Figure(name="cpu_us_per_token", first=60, goal=40),),
        nginx="26",
        portkey="92",
        litellm="906",
    ),
    Row(
        title="idle memory of the gateway, MB / start to first 200, s",
        scenario="start",
        figures=(
            Figure(name="resident_mb", first=120, goal=80, form=".0f"),
            Figure(name="start_s", first=2, goal=1, form=".2f"),
        ),
        nginx="15 / 0.01",
        portkey="91 / 0.5",
        litellm="344 / 9",
    ),
    Row(
        title="pickup, idle, p50 / p99 ms (stock arq: 249 / 489)",
        scenario="pickup",
        figures=(
            Figure(name="p50_ms", first=1.5, goal=1, form=".2f"),
            Figure(name="p99_ms", first=3, goal=2, form=".2f"),
        ),
    ),
    Row(
        title="pickup, 900 jobs running, p50 / p99 ms (stock arq: 532 / 790)",
        scenario="pickup",
        figures=(
            Figure(name="busy_p50_ms", first=1.5, goal=1, form=".2f"),
            Figure(name="busy_p99_ms", first=3, goal=2, form=".2f"),
        ),
    ),
)
