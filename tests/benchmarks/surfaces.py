"""What the surfaces of OpenAI's and Ollama's protocols cost beside the native one, under the same loads in turns."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from msgspec import structs

from tests.benchmarks.bench import Bench, Outcome
from tests.benchmarks.load import Load
from tests.benchmarks.markdown import aligned
from tests.benchmarks.ours import our_stack
from tests.benchmarks.rounds import Measured, measure_rounds
from tests.benchmarks.scenarios import Figures, Scenario, first_token, send_paced_streams, send_unpaced_streams, taken
from tests.benchmarks.targets import SURFACES, UNPACED, Target

_STREAMS = 200
_TARGET_US = 10
"""What a token may cost more than on the native surface, of processor time over all processes."""
_US_PER_TOKEN = "us_per_token"
_ABSENT = "-"
_PACED, _UNPACED, _FIRST_TOKEN = "paced", "unpaced", "first-token"


async def measure_surfaces(bench: Bench, directory: Path, model_port: int, *, rounds: int, patience_s: float) -> str:
    """Measure each surface of a stack of our own, and return a table.

    Raises:
        StartFailedError: A part of the stack does not come to serve.

    """
    async with our_stack(directory / "surfaces", model_port=model_port) as ours:
        targets = [structs.replace(ours, name=surface, surface=surface) for surface in SURFACES]
        for target in targets:  # what is loaded or connected at first use is no part of any figure
            await bench.send(target, target.streamed(UNPACED, 8), Load(clients=16, requests=8))
        return table(await measure_rounds(bench, targets, _SCENARIOS, rounds=rounds, patience_s=patience_s))


async def _paced(bench: Bench, target: Target) -> Figures:
    outcome = await send_paced_streams(bench, target, _STREAMS)
    return {_US_PER_TOKEN: _us_per_token(outcome), "gap_p99_ms": taken(outcome.report.gap_ms).p99}


async def _unpaced(bench: Bench, target: Target) -> Figures:
    outcome = await send_unpaced_streams(bench, target)
    report = outcome.report
    return {_US_PER_TOKEN: _us_per_token(outcome), "tokens_per_s": report.tokens_in_window / report.seconds}


_SCENARIOS: Mapping[str, Scenario] = {_PACED: _paced, _UNPACED: _unpaced, _FIRST_TOKEN: first_token}


def _us_per_token(outcome: Outcome) -> float:
    return outcome.serving_s / outcome.report.tokens * 1e6


def table(measured: Measured) -> str:
    """Return medians of the rounds with the least and the most; what is more than native is taken within each round."""
    head = ["measure", *SURFACES]
    paced, unpaced = f"{_STREAMS} streams x 50 tokens/s", "64 streams, unpaced"
    return aligned(
        [
            head,
            _line(f"{paced}, processor µs per token", measured, _PACED, _US_PER_TOKEN),
            _more_line(f"more than native, target {_TARGET_US}", measured, _PACED),
            _line(f"{paced}, gap p99 ms", measured, _PACED, "gap_p99_ms"),
            _line(f"{unpaced}, processor µs per token", measured, _UNPACED, _US_PER_TOKEN),
            _more_line(f"more than native, target {_TARGET_US}", measured, _UNPACED),
            _line(f"{unpaced}, tokens/s", measured, _UNPACED, "tokens_per_s", form=",.0f"),
            _line("first token, 1 client, p50 ms", measured, _FIRST_TOKEN, "p50_ms", form=".2f"),
            _line("first token, 1 client, p99 ms", measured, _FIRST_TOKEN, "p99_ms", form=".2f"),
            _cells("most of the cores that other work had", lambda surface: _strangers(measured, surface)),
        ]
    )


def _line(title: str, measured: Measured, scenario: str, figure: str, *, form: str = ".1f") -> list[str]:
    def told(surface: str) -> str:
        values = [one.figures.get(figure) for one in measured[scenario, surface]]
        return _told([value for value in values if value is not None], form)

    return _cells(title, told)


def _more_line(title: str, measured: Measured, scenario: str) -> list[str]:
    def more(surface: str) -> str:
        rounds = zip(measured[scenario, surface], measured[scenario, "native"], strict=True)
        pairs = [(ours.figures.get(_US_PER_TOKEN), native.figures.get(_US_PER_TOKEN)) for ours, native in rounds]
        return _told([ours - native for ours, native in pairs if ours is not None and native is not None], "+.1f")

    return _cells(title, lambda surface: _ABSENT if surface == "native" else more(surface))


def _cells(title: str, told: Callable[[str], str]) -> list[str]:
    return [title, *(told(surface) for surface in SURFACES)]


def _told(values: Sequence[float], form: str) -> str:
    if not values:
        return _ABSENT
    if len(values) == 1:
        return format(values[0], form)
    return f"{median(values):{form}} [{min(values):{form}}..{max(values):{form}}]"


def _strangers(measured: Measured, surface: str) -> str:
    return f"{max(one.strangers_share for scenario in _SCENARIOS for one in measured[scenario, surface]):.0%}"
