"""Tells what was measured: a table with its spread, whether the answers were right, and whether others disturbed."""

from collections.abc import Iterable, Sequence
from statistics import median

from tests.benchmarks.bench import Outcome
from tests.benchmarks.load import LoadReport
from tests.benchmarks.markdown import aligned
from tests.benchmarks.rounds import Measured, Measurement
from tests.benchmarks.rows import Figure, Row
from tests.benchmarks.scenarios import Figures

_ABSENT = "-"
_HEARSAY_SHARE = 0.25
"""Beyond this part of the cores in other hands a figure says more about them than about us."""


def table(rows: Iterable[Row], measured: Measured) -> str:
    """Return the rows as a Markdown table: medians of the rounds, ours with the least and the most."""
    head = [
        "measure",
        "direct",
        "nginx",
        "ours",
        "ours : direct",
        "ours : nginx",
        "first",
        "goal",
        "verdict",
        "other work",
    ]
    lines = [head]
    for row in rows:
        direct, nginx, ours = (
            [one.figures for one in measured.get((row.scenario, name), [])] for name in ("direct", "nginx", "ours")
        )
        lines.append(
            [
                row.title,
                _medians(row.figures, direct),
                _medians(row.figures, nginx),
                _with_spread(row.figures, ours),
                _ratios(row.figures, ours, direct),
                _ratios(row.figures, ours, nginx),
                _bounds(row.figures, [figure.first for figure in row.figures]),
                _bounds(row.figures, [figure.goal for figure in row.figures]),
                _qualified(verdict(row.figures, ours), measured.get((row.scenario, "ours"), [])),
                _other_work(measured, row.scenario),
            ]
        )
    return aligned(lines)


def quoted(rows: Iterable[Row]) -> str:
    """Return what others reached on another machine, as a Markdown table."""
    head = ["measured elsewhere", "direct", "nginx", "Portkey 1.15", "LiteLLM 1.106"]
    lines = [[row.title, row.direct, row.nginx, row.portkey, row.litellm] for row in rows]
    return aligned([head, *lines])


def verdict(figures: Sequence[Figure], rounds: Sequence[Figures]) -> str:
    """Return what our medians reach: `goal`, `first`, or how many times worse than `first` the worst of them is."""
    values = [_median(figure, rounds) for figure in figures]
    if None in values:
        return "not measured"
    known = [(figure, value) for figure, value in zip(figures, values, strict=True) if value is not None]
    if all(figure.reaches(value, figure.goal) for figure, value in known):
        return "goal"
    if all(figure.reaches(value, figure.first) for figure, value in known):
        return "first"
    return f"missed, {max(figure.distance(value) for figure, value in known):.2f} x first"


def _qualified(verdict_: str, measurements: Sequence[Measurement]) -> str:
    """Say of a verdict that it is none when other work had too much of the cores."""
    if measurements and median(one.strangers_share for one in measurements) > _HEARSAY_SHARE:
        return f"disturbed ({verdict_})"
    return verdict_


def account(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line per target: how many answers were whole and exact, and how busy the machine was with other work."""
    lines: list[str] = []
    for name in dict.fromkeys(outcome.target for outcome in outcomes):
        reports = [outcome.report for outcome in outcomes if outcome.target == name]
        lines.append(
            f"{name}: {sum(report.complete for report in reports):,} of {sum(report.sent for report in reports):,} "
            f"answers whole, exact and in order ({sum(report.tokens for report in reports):,} tokens)"
        )
        lines += [f"{name}: NOT as asked: {_fault(report)}" for report in reports if report.complete < report.sent]
    return lines


def all_exact(outcomes: Iterable[Outcome]) -> bool:
    """Tell whether every answer was whole: figures about wrong answers are worth nothing."""
    return all(outcome.report.complete == outcome.report.sent for outcome in outcomes)


def _other_work(measured: Measured, scenario: str) -> str:
    """Return the median share of the cores that went to other work, per target."""
    shares = [
        median(one.strangers_share for one in measurements)
        for (name, _), measurements in measured.items()
        if name == scenario
    ]
    return " / ".join(f"{share:.0%}" for share in shares)


def _fault(report: LoadReport) -> str:
    return (
        f"of {report.sent} answers {report.wrong} wrong, {report.failed} failed, {report.refused} refused, "
        f"{report.broken} broken off, {report.unfinished} unfinished; {report.first_error or 'no message'}"
    )


def _median(figure: Figure, rounds: Sequence[Figures]) -> float | None:
    values = [figures[figure.name] for figures in rounds if figure.name in figures]
    return median(values) if values else None


def _medians(figures: Sequence[Figure], rounds: Sequence[Figures]) -> str:
    values = [_median(figure, rounds) for figure in figures]
    return " / ".join(_ABSENT if v is None else format(v, f.form) for f, v in zip(figures, values, strict=True))


def _with_spread(figures: Sequence[Figure], rounds: Sequence[Figures]) -> str:
    parts: list[str] = []
    for figure in figures:
        values = [of_round[figure.name] for of_round in rounds if figure.name in of_round]
        if not values:
            parts.append(_ABSENT)
            continue
        least, most = (format(bound(values), figure.form) for bound in (min, max))
        parts.append(f"{median(values):{figure.form}} [{least}..{most}]")
    return " / ".join(parts)


def _ratios(figures: Sequence[Figure], ours: Sequence[Figures], theirs: Sequence[Figures]) -> str:
    """Return the median of the rounds' ratios: both sides of each were measured within the same minute."""
    parts: list[str] = []
    for figure in figures:
        pairs = [(a.get(figure.name), b.get(figure.name)) for a, b in zip(ours, theirs, strict=False)]
        ratios = [mine / other for mine, other in pairs if mine is not None and other]
        parts.append(f"{median(ratios):.3g}" if ratios else _ABSENT)
    return " / ".join(parts)


def _bounds(figures: Sequence[Figure], bounds: Sequence[float | None]) -> str:
    return " / ".join(f"{bound:,g}" for _, bound in zip(figures, bounds, strict=True) if bound is not None)
