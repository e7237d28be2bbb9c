"""The policy over time, for a terminal: who has which share when, where faults are, how users fare."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from rich.text import Text

from failover.distribution import WHOLE
from failover.policy import Mode
from failover.rehearsal import Rehearsed
from failover.units import render_duration
from failover.world import InForce, in_force
from starter.runs.picture import COLOURS, GLYPHS, SPARKS

WIDTH = 80
"""Columns of the plot itself; with its margin it stays below a hundred."""

ROWS = 10
MARGIN = 9


def policy_over_time(told: Rehearsed, route: str) -> list[Text]:
    """Shares as areas upon one another; below them faults, degraded service, questions, and lost requests."""
    names = sorted(
        {name for one in told.policies if one.route == route for name, share in one.distribution.items() if share}
    )
    moments = [told.began + told.took * (column + 0.5) / WIDTH for column in range(WIDTH)]
    shares = [_at(told.policies, route, moment) for moment in moments]
    lines = [_row(names, shares, row) for row in reversed(range(ROWS))]
    lines += [_axis(told.took), *_bands(told, route, moments), _lost(told, route), _legend(names)]
    return [line for line in lines if line.plain.strip()]


def _at(policies: Sequence[InForce], route: str, moment: datetime) -> InForce:
    return in_force(policies, moment)[route]


def _row(names: Sequence[str], shares: Sequence[InForce], row: int) -> Text:
    label = f"{100 * (row + 1) // ROWS} %" if (row + 1) % 5 == 0 else ""
    line = Text(f"{label:>{MARGIN - 2}} │")
    height = (row + 0.5) / ROWS * WHOLE
    for policy in shares:
        below = 0
        for number, name in enumerate(names):
            below += policy.distribution.get(name, 0)
            if height < below:
                line.append(GLYPHS[number % len(GLYPHS)], style=COLOURS[number % len(COLOURS)])
                break
        else:
            line.append(" ")
    return line


def _axis(took: timedelta) -> Text:
    """Minutes (or seconds) since the beginning, at whole steps."""
    step = next_step(took)
    line = list(f"{'└' + '─' * WIDTH}")
    labels = [" "] * (WIDTH + 8)
    for number in range(int(took / step) + 1):
        column = int(number * step / took * WIDTH) if took else 0
        if column < WIDTH:
            line[column + 1] = "┴"
            text = render_duration(number * step)
            labels[column + 1 : column + 1 + len(text)] = text
    return Text(" " * (MARGIN - 1) + "".join(line) + "\n" + " " * (MARGIN - 1) + "".join(labels).rstrip())


STEPS = (*(timedelta(seconds=n) for n in (5, 10, 15, 30)), *(timedelta(minutes=n) for n in (1, 2, 5, 10, 15, 30)))


def next_step(took: timedelta) -> timedelta:
    """The time between two ticks, so that there are at most ten."""
    hour = timedelta(hours=1)
    return next((step for step in STEPS if took / step <= 10), hour * max(1, -(-took // (10 * hour))))


def _bands(told: Rehearsed, route: str, moments: Sequence[datetime]) -> list[Text]:
    bands = []
    for provider in dict.fromkeys(fault.provider for fault in told.script.faults):
        bands.append(_band(provider, moments, partial(told.struck, provider), "╳", "red"))
    bands.append(
        _band("degraded", moments, lambda at: _at(told.policies, route, at).mode is Mode.DEGRADED, "▄", "yellow")
    )
    asked = [one.at for one in told.asked]
    span = told.took / len(moments)
    bands.append(_band("asks", moments, lambda at: any(abs(at - one) <= span / 2 for one in asked), "?", "bold yellow"))
    return bands


def _band(name: str, moments: Sequence[datetime], there: Callable[[datetime], bool], glyph: str, style: str) -> Text:
    marks = "".join(glyph if there(at) else " " for at in moments)
    if not marks.strip():
        return Text("")
    return Text(f"{name[: MARGIN - 2]:>{MARGIN - 2}}  ").append(marks.rstrip(), style=style)


def _lost(told: Rehearsed, route: str) -> Text:
    """Lost requests, the full height being the worst of them or 10 %, whichever is more."""
    points = [point for point in told.curve if point.route == route]
    if not any(point.lost_percent for point in points):
        return Text("")
    columns: list[float] = [0.0] * WIDTH
    for point in points:
        column = min(WIDTH - 1, int((point.at - told.began) / told.took * WIDTH))
        columns[column] = max(columns[column], point.lost_percent)
    most = max(10.0, *columns)
    sparks = "".join(SPARKS[round(value / most * (len(SPARKS) - 1))] if value else " " for value in columns)
    return (
        Text(f"{'lost':>{MARGIN - 2}}  ").append(sparks.rstrip(), style="red").append(f"  up to {max(columns):.0f} %")
    )


def _legend(names: Sequence[str]) -> Text:
    line = Text(" " * MARGIN)
    for number, name in enumerate(names):
        line.append(f"{GLYPHS[number % len(GLYPHS)]} {name}  ", style=COLOURS[number % len(COLOURS)])
    return line
