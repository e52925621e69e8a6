"""Prints what was measured: a Markdown table, the spread behind it, and whether the answers were right."""

from collections.abc import Iterable, Sequence
from statistics import median

from tests.benchmarks.bench import Outcome
from tests.benchmarks.markdown import aligned
from tests.benchmarks.rows import Figure, Row
from tests.benchmarks.scenarios import Figures

Measured = dict[tuple[str, str], list[Figures]]
"""The figures of every round by scenario and target."""

_ABSENT = "-"


def table(rows: Iterable[Row], measured: Measured) -> str:
    """Return the rows as a Markdown table: medians of the rounds, ours with the least and the most."""
    head = ["measure", "direct", "nginx", "ours", "ours : direct", "ours : nginx", "first", "goal", "verdict"]
    lines = [head]
    for row in rows:
        direct, nginx, ours = (measured.get((row.scenario, name), []) for name in ("direct", "nginx", "ours"))
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
                verdict(row.figures, ours),
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


def account(outcomes: dict[str, list[Outcome]]) -> list[str]:
    """Return a line per target: how many answers were whole and exact, and how busy the machine was with other work."""
    lines: list[str] = []
    for name, of_target in outcomes.items():
        sent = sum(outcome.report.sent for outcome in of_target)
        complete = sum(outcome.report.complete for outcome in of_target)
        tokens = sum(outcome.report.tokens for outcome in of_target)
        strangers = median(outcome.strangers_share for outcome in of_target)
        lines.append(
            f"{name}: {complete:,} of {sent:,} answers whole, exact and in order ({tokens:,} tokens); "
            f"other work on the machine took {strangers:.0%} of the cores"
        )
        lines += [f"{name}: NOT as asked: {fault}" for fault in _faults(of_target)]
    return lines


def all_exact(outcomes: dict[str, list[Outcome]]) -> bool:
    """Tell whether every answer was whole: figures about wrong answers are worth nothing."""
    return all(o.report.complete == o.report.sent for of_target in outcomes.values() for o in of_target)


def _faults(outcomes: Iterable[Outcome]) -> Iterable[str]:
    for outcome in outcomes:
        report = outcome.report
        if report.complete < report.sent:
            yield (
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
