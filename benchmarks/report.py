"""Figures side by side: medians, ranges, ratios, and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Run


class Figure(Enum):
    """One figure of a run: its name, whether more is better, and how it is shown."""

    DELIVERED = ("delivered/s", True, "{:,.0f}")
    ACCEPTED = ("accepted/s", True, "{:,.0f}")
    CPU = ("CPU ms per message", False, "{:.2f}")
    MEMORY = ("memory (PSS), MiB", False, "{:,.0f}")
    MEDIAN = ("latency, median, ms", False, "{:.1f}")
    P99 = ("latency, p99, ms", False, "{:.1f}")

    def __init__(self, title: str, more_is_better: bool, form: str) -> None:
        self.title = title
        self.more_is_better = more_is_better
        self.form = form

    def of(self, run: Run) -> float:
        values: Mapping[Figure, Callable[[], float]] = {
            Figure.DELIVERED: lambda: run.delivered_per_second,
            Figure.ACCEPTED: lambda: run.accepted_per_second,
            Figure.CPU: lambda: run.cpu_ms.get("gateway", 0.0),
            Figure.MEMORY: lambda: run.pss_mib,
            Figure.MEDIAN: lambda: run.latency_median_ms,
            Figure.P99: lambda: run.latency_p99_ms,
        }
        return values[self]()


@dataclass(frozen=True, slots=True)
class AtLeast:
    """The ratio of the medians is to be at least this."""

    figure: Figure
    bound: float

    def met(self, ratio: float) -> bool:
        return ratio >= self.bound

    def __str__(self) -> str:
        return f"≥ {self.bound:.3g}"


@dataclass(frozen=True, slots=True)
class AtMost:
    """The ratio of the medians is to be at most this."""

    figure: Figure
    bound: float

    def met(self, ratio: float) -> bool:
        return ratio <= self.bound

    def __str__(self) -> str:
        return f"≤ {self.bound:.3g}"


Target = AtLeast | AtMost


def ratio(figure: Figure, runs: Mapping[str, Sequence[Run]]) -> float | None:
    """The first entrant's median over the best of the others'; None when there is nothing to compare."""
    first, *others = [median(figure.of(run) for run in of_one) for of_one in runs.values() if of_one]
    if not others:
        return None
    best = max(others) if figure.more_is_better else min(others)
    return first / best if best else None


def show(
    console: Console, title: str, figures: Sequence[Figure], targets: Sequence[Target], runs: Mapping[str, Sequence[Run]]
) -> None:
    """One scenario's table: by entrant the median, and the range when there were several runs."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in runs:
        table.add_column(name, justify="right")
    compared = sum(map(bool, runs.values())) > 1
    if compared:
        table.add_column("ratio", justify="right")
        table.add_column("target", justify="right")
    for figure in figures:
        row = [_cell(figure.form, [figure.of(run) for run in of_one]) for of_one in runs.values()]
        if compared:
            value = ratio(figure, runs)
            target = next((target for target in targets if target.figure is figure), None)
            colour = "" if target is None or value is None else "[green]" if target.met(value) else "[red]"
            row += [f"{colour}{value:.2f}" if value is not None else "", str(target or "")]
        table.add_row(figure.title, *row)
    _where_time_goes(table, runs)
    console.print(table)
    for name, of_one in runs.items():
        for run in of_one:
            for fault in run.faults:
                console.print(f"[red]{name}: {fault}[/]")


def summary(console: Console, rows: Sequence[tuple[str, Target, float]]) -> None:
    """What was aimed at, and what came of it: scenario, target and ratio."""
    table = Table(title="What was aimed at", title_justify="left")
    for column in ("scenario", "ratio of the medians", "is", "target", ""):
        table.add_column(column)
    for scenario, target, value in rows:
        met = "[green]met[/]" if target.met(value) else "[red]missed[/]"
        table.add_row(scenario, target.figure.title, f"{value:.2f}", str(target), met)
    console.print(table)


def _cell(form: str, values: Sequence[float]) -> str:
    if not values:
        return ""
    middle, low, high = (form.format(value) for value in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} [dim]({low}–{high})[/]"


def _where_time_goes(table: Table, runs: Mapping[str, Sequence[Run]]) -> None:
    """Everything else that used the processors meanwhile."""
    table.add_section()
    names = dict.fromkeys(name for of_one in runs.values() for run in of_one for name in run.cpu_ms if name != "gateway")
    for name in names:
        cells = [_cell("{:.2f}", [run.cpu_ms[name] for run in of_one if name in run.cpu_ms]) for of_one in runs.values()]
        table.add_row(f"[dim]CPU ms per message, {name}[/]", *(f"[dim]{cell}[/]" for cell in cells))
    rows: dict[str, Callable[[Run], float]] = {
        "TLS handshakes at the sink": lambda run: run.handshakes,
        "connections at a time": lambda run: run.peak_connections,
        "the gateway's processes": lambda run: run.processes,
        "% of the machine taken by others": lambda run: 100 * run.others_share,
    }
    for title, value in rows.items():
        cells = [_cell("{:,.0f}", [value(run) for run in of_one]) for of_one in runs.values()]
        table.add_row(f"[dim]{title}[/]", *(f"[dim]{cell}[/]" for cell in cells))
