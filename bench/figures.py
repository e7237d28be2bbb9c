"""Figures as they are printed: n, minimum, median, 99th percentile, maximum."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

console = Console(width=100)


def table(title: str, rows: Sequence[tuple[str, Sequence[float]]], unit: str) -> None:
    """One row a series of values in `unit`."""
    shown = Table(title=title, title_justify="left", box=None)
    for head in ("", "n", "min", "p50", "p99", "max"):
        shown.add_column(head, justify="left" if not head else "right")
    for name, values in rows:
        shown.add_row(name, str(len(values)), *(f"{figure:.1f} {unit}" for figure in summary(values)))
    console.print(shown)
    console.print()


def summary(values: Sequence[float]) -> tuple[float, float, float, float]:
    ordered = sorted(values) or [float("nan")]
    return ordered[0], at(ordered, 0.5), at(ordered, 0.99), ordered[-1]


def at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def facts(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Anything else, as a table."""
    shown = Table(title=title, title_justify="left", box=None)
    for name in head:
        shown.add_column(name, justify="left" if name == head[0] else "right")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    console.print()
